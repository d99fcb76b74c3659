#include "bench_options.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <charconv>
#include <cstdio>
#include <map>
#include <utility>

namespace pcpp::benchmarks {

namespace {

// The whole text as a number.
template <typename Number>
std::optional<Number> parse_number(std::string_view text) {
  Number number{};
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, number);
  if (error != std::errc() || stop != end) return std::nullopt;
  return number;
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

// A known name, gigabytes a second, or none.
std::optional<Link> parse_link(const std::string& text) {
  if (text == "none") return std::nullopt;
  for (const Link& link : Link::known()) {
    if (link.name == text) return link;
  }
  const std::optional<double> gigabytes = parse_number<double>(text);
  if (gigabytes && *gigabytes >= 1e-6 && *gigabytes <= 1e6) {
    return Link{text + "GB/s", *gigabytes * 1e9, 10e-6, false};
  }
  std::string names;
  for (const Link& link : Link::known()) names += link.name + ", ";
  throw CLI::ValidationError(
      fmt::format("--link: '{}' is not one of {}none, nor gigabytes a second", text, names));
}

// A list option whose words go through `parse`.
template <typename Value, typename Parse>
CLI::Option* add_list(CLI::App& app, const std::string& name, std::vector<Value>& values,
                      const Parse& parse, const std::string& help) {
  const auto store = [&values, parse](const std::vector<std::string>& words) {
    values.clear();
    for (const std::string& word : words) values.push_back(parse(word));
  };
  return app.add_option_function<std::vector<std::string>>(name, store, help)
      ->delimiter(',')
      ->allow_extra_args(false)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
}

void add_combination_options(CLI::App& app, BenchOptions& options) {
  app.add_option("--methods", options.methods, "how the ranks share the work")
      ->delimiter(',')
      ->allow_extra_args(false)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll)
      ->check(CLI::IsMember({"single", "naive", "distrifusion", "pcpp"}))
      ->capture_default_str();
  app.add_option("--ranks", options.ranks, "how many draw together")
      ->delimiter(',')
      ->allow_extra_args(false)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll)
      ->check(CLI::Range(1, 1024))
      ->capture_default_str();
  app.add_option("--partial", options.partials,
                 "pcpp: the part of an adjacent band that attention reads")
      ->delimiter(',')
      ->allow_extra_args(false)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll)
      ->check(CLI::Range(0.0, 1.0))
      ->capture_default_str();
  app.add_option("--pool", options.pools,
                 "pcpp: unread tokens of other bands that one pooled token stands for; 0: none")
      ->delimiter(',')
      ->allow_extra_args(false)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll)
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  add_list(app, "--size", options.sizes, parse_size, "pixels, WxH (default: the model's)")
      ->type_name("WxH ...");
  app.add_option("--guidance", options.guidances,
                 "both branches on every rank, or one half of the ranks each")
      ->delimiter(',')
      ->allow_extra_args(false)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll)
      ->check(CLI::IsMember({"batched", "split"}))
      ->capture_default_str();
  add_list(app, "--link", options.links, parse_link,
           "emulated: a name, gigabytes a second and lane, or none (default: none)")
      ->type_name("NAME ...");
  app.add_flag("--shared-link", options.shared_link,
               "all ranks share one lane of the link, in place of two each");
}

void add_run_options(CLI::App& app, BenchOptions& options) {
  static const std::map<std::string, DataType> dtypes = {{"float32", DataType::float32},
                                                         {"bfloat16", DataType::bfloat16}};
  static const std::map<std::string, SchedulerKind> schedulers = {{"ddim", SchedulerKind::ddim},
                                                                  {"euler", SchedulerKind::euler}};
  app.add_option("--model", options.model, "folder of the model, in diffusers' layout")
      ->capture_default_str();
  app.add_option("--prompt", options.prompt, "what to draw")->capture_default_str();
  app.add_option("--steps", options.steps, "denoising steps")->capture_default_str();
  app.add_option("--sync-steps", options.sync_steps, "first steps that wait for fresh data")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  app.add_option("--group-norm", options.group_norm, "statistics in steady steps")
      ->check(CLI::IsMember({"corrected", "stale", "local", "synchronous"}))
      ->capture_default_str();
  app.add_option("--row-format", options.row_format, "how rows travel in steady steps")
      ->check(CLI::IsMember({"exact", "int8"}))
      ->capture_default_str();
  app.add_option("--guidance-scale", options.guidance_scale, "how closely to follow the prompt")
      ->capture_default_str();
  app.add_option("--seed", options.seed, "of the initial noise")->capture_default_str();
  app.add_option_function<std::string>(
         "--scheduler", [&](const std::string& word) { options.scheduler = schedulers.at(word); },
         "default: the model's")
      ->check(CLI::IsMember(schedulers));
  app.add_option_function<std::string>(
         "--dtype", [&](const std::string& word) { options.dtype = dtypes.at(word); },
         "of the networks (default: float32)")
      ->check(CLI::IsMember(dtypes));
  app.add_option("--threads", options.threads,
                 "of each rank (default: the cores shared by the most ranks)")
      ->check(CLI::Range(0, 1024));
  app.add_option("--repeat", options.repeat, "timed runs of each combination")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  app.add_option("--json", options.json, "write one JSON line for each combination to this file");
  app.add_option("--pictures", options.pictures, "write each combination's picture to this folder");
}

int usage_error(const std::string& text) {
  fmt::print(stderr, "bench_denoise: {} (see bench_denoise --help)\n", text);
  return 2;
}

template <typename Value>
void drop_repeated(std::vector<Value>& values) {
  std::vector<Value> kept;
  for (const Value& value : values) {
    if (std::find(kept.begin(), kept.end(), value) == kept.end()) kept.push_back(value);
  }
  values = std::move(kept);
}

}  // namespace

std::variant<BenchOptions, int> parse_command_line(int argc, char** argv) {
  BenchOptions options;
  options.model = PCPP_DEFAULT_MODEL;
  CLI::App app("Times and compares the methods of drawing one picture on several ranks.",
               "bench_denoise");
  app.option_defaults()->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
  add_combination_options(app, options);
  add_run_options(app, options);
  try {
    app.parse(argc, argv);
  } catch (const CLI::CallForHelp&) {
    fmt::print("{}", app.help());
    return 0;
  } catch (const CLI::ParseError& error) {
    return usage_error(error.what());
  }
  if (options.steps < options.sync_steps + 2) {
    return usage_error(
        fmt::format("--steps {} leaves no steady step but the last after {} synchronous ones: "
                    "at least {} are needed",
                    options.steps, options.sync_steps, options.sync_steps + 2));
  }
  drop_repeated(options.methods);
  drop_repeated(options.ranks);
  drop_repeated(options.partials);
  drop_repeated(options.pools);
  drop_repeated(options.guidances);
  drop_repeated(options.sizes);
  for (std::optional<Link>& link : options.links) {
    if (link) link->shared = options.shared_link;
  }
  const int most_ranks = *std::max_element(options.ranks.begin(), options.ranks.end());
  if (options.threads == 0) options.threads = std::max(1, World::cores() / most_ranks);
  return options;
}

}  // namespace pcpp::benchmarks
