#include "base/log.h"

#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/stdout_color_sinks.h>

#include <cstdlib>
#include <ctime>
#include <memory>
#include <string>
#include <string_view>

#include "base/excerpt.h"

namespace pcpp {
namespace {

// A message as one line, whatever names of files are in it.
class OneLine : public spdlog::custom_flag_formatter {
 public:
  void format(const spdlog::details::log_msg& message, const std::tm& /*time*/,
              spdlog::memory_buf_t& target) override {
    const std::string line = escaped({message.payload.data(), message.payload.size()});
    target.append(line.data(), line.data() + line.size());
  }
  std::unique_ptr<spdlog::custom_flag_formatter> clone() const override {
    return std::make_unique<OneLine>();
  }
};

// spdlog's own pattern but for the message.
std::unique_ptr<spdlog::formatter> line_formatter() {
  auto made = std::make_unique<spdlog::pattern_formatter>();
  made->add_flag<OneLine>('*').set_pattern("[%Y-%m-%d %H:%M:%S.%e] [%n] [%^%l%$] %*");
  return made;
}

}  // namespace

spdlog::logger& log() {
  // A logger of its own, not spdlog's default one, which belongs to the program.
  // Never destroyed: a thread of the host's may still draw when its process ends.
  static spdlog::logger& logger = *[] {
    auto* made =
        new spdlog::logger("pcpp", std::make_shared<spdlog::sinks::stderr_color_sink_mt>());
    made->set_formatter(line_formatter());
    made->set_level(spdlog::level::warn);
    if (const char* asked = std::getenv("PCPP_LOG")) {
      const spdlog::level::level_enum level = spdlog::level::from_str(asked);  // else off
      if (level != spdlog::level::off || std::string_view(asked) == "off") {
        made->set_level(level);
      } else {
        made->warn(
            "PCPP_LOG is '{}': trace, debug, info, warning, error, critical or off is wanted",
            asked);
      }
    }
    return made;
  }();
  return logger;
}

}  // namespace pcpp
