#include "command_line.h"

#include <cstdio>

namespace pcpp::examples {

CLI::Option* as_list(CLI::Option* option) {
  return option->delimiter(',')->allow_extra_args(false)->multi_option_policy(
      CLI::MultiOptionPolicy::TakeAll);
}

Size parse_size(const std::string& text) {
  const std::size_t cross = text.find('x');
  const auto width = parse_number<int>(std::string_view(text).substr(0, cross));
  const auto height = cross == std::string::npos
                          ? std::nullopt
                          : parse_number<int>(std::string_view(text).substr(cross + 1));
  if (width && height && *width > 0 && *height > 0) return {*width, *height};
  throw CLI::ValidationError(fmt::format("--size: '{}' is not WxH in pixels", text));
}

std::optional<int> parse(CLI::App& app, int argc, char** argv) {
  try {
    app.parse(argc, argv);
    return std::nullopt;
  } catch (const CLI::CallForHelp&) {
    fmt::print("{}", app.help());
    return 0;
  } catch (const CLI::ParseError& error) {
    return usage_error(app, error.what());
  }
}

int usage_error(const CLI::App& app, const std::string& text) {
  fmt::print(stderr, "{0}: {1} (see {0} --help)\n", app.get_name(), text);
  return 2;
}

int report_error(const std::exception& error) {
  std::string text = error.what();
  std::replace(text.begin(), text.end(), '\n', ' ');
  fmt::print(stderr, "error: {}\n", text);
  return 1;
}

}  // namespace pcpp::examples
