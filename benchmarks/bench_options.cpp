#include "bench_options.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <climits>
#include <cstdint>
#include <utility>

#include "examples/command_line.h"

namespace pcpp::benchmarks {

namespace {

constexpr int kMostSteps = 1000000;

// A known name, gigabytes a second, or none.
std::optional<Link> parse_link(const std::string& text) {
  if (text == "none") return std::nullopt;
  for (const Link& link : Link::known()) {
    if (link.name == text) return link;
  }
  const std::optional<double> gigabytes = examples::parse_number<double>(text);
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
  return examples::as_list(app.add_option_function<std::vector<std::string>>(name, store, help));
}

void add_combination_options(CLI::App& app, BenchOptions& options) {
  examples::add_choices(
      app, "--methods",
      examples::words_of(examples::kMethods,
                         {Method::single, Method::naive, Method::distrifusion, Method::pcpp}),
      options.methods, "how the ranks share the work");
  examples::add_numbers(app, "--ranks", options.ranks, 1, World::kMostRanks,
                        "how many draw together (default: 2)")
      ->type_name("N,...");
  examples::add_numbers(app, "--partial", options.partials, 0, 1,
                        "pcpp: the part of an adjacent band that attention reads (default: 0.3)")
      ->type_name("P,...");
  examples::add_numbers(app, "--pool", options.pools, 0, INT_MAX,
                        "pcpp: unread tokens of other bands that one pooled token stands for; 0: "
                        "none (default: 0)")
      ->type_name("M,...");
  add_list(app, "--size", options.sizes, examples::parse_size, "pixels, WxH (default: the model's)")
      ->type_name("WxH ...");
  examples::add_choices(app, "--guidance", examples::kGuidances, options.guidances,
                        "both branches on every rank, or one half of the ranks each");
  add_list(app, "--link", options.links, parse_link,
           "emulated: a name, gigabytes a second and lane, or none (default: none)")
      ->type_name("NAME ...");
  examples::add_numbers(app, "--bands", options.bands, 1, INT_MAX,
                        "latent rows of each band, where there are as many bands")
      ->type_name("ROWS,...");
  app.add_flag("--shared-link", options.shared_link,
               "all ranks share one lane of the link, in place of two each")
      ->disable_flag_override();
  app.add_flag("--in-turn", options.in_turn,
               "ranks compute one after the other: a step is that of the slowest band, alone")
      ->disable_flag_override();
}

void add_run_options(CLI::App& app, BenchOptions& options) {
  examples::add_path(app, "--model", options.model, "folder of the model, in diffusers' layout");
  app.add_option("--prompt", options.prompts,
                 "what to draw; given several times: one picture each, in one batch")
      ->allow_extra_args(false)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll)
      ->capture_default_str();
  examples::add_number(app, "--steps", options.steps, 1, kMostSteps, "denoising steps");
  examples::add_number(app, "--sync-steps", options.sync_steps, 1, kMostSteps,
                       "first steps that wait for fresh data");
  examples::add_choice<GroupNormMode>(app, "--group-norm", examples::kGroupNorms,
                                      "statistics in steady steps (default: corrected)",
                                      [&](GroupNormMode mode) { options.group_norm = mode; });
  examples::add_choice<RowFormat>(app, "--row-format", examples::kRowFormats,
                                  "how rows travel in steady steps (default: exact)",
                                  [&](RowFormat format) { options.row_format = format; });
  examples::add_number(app, "--guidance-scale", options.guidance_scale, 0, 1000,
                       "how closely to follow the prompt");
  examples::add_number(app, "--seed", options.seed, 0, UINT64_MAX, "of all noise");
  examples::add_choice<SchedulerKind>(app, "--scheduler", examples::kSchedulers,
                                      "default: the model's",
                                      [&](SchedulerKind kind) { options.scheduler = kind; });
  examples::add_device_options(app, options.device);
  examples::add_gpu_options(app, options.device);
  examples::add_choice<DataType>(app, "--dtype", examples::kDataTypes,
                                 "of the networks (default: float32)",
                                 [&](DataType dtype) { options.dtype = dtype; });
  examples::add_number(app, "--threads", options.threads, 1, World::kMostRanks,
                       "of each rank (default: the cores shared by the most ranks)");
  examples::add_number(app, "--repeat", options.repeat, 1, INT_MAX,
                       "timed runs of each combination");
  examples::add_path(app, "--json", options.json,
                     "write one JSON line for each combination to this file");
  examples::add_path(app, "--pictures", options.pictures,
                     "write each combination's pictures to this folder");
  examples::add_path(app, "--trace", options.traces,
                     "draw each combination once more and write its trace to this folder");
}

// What says nothing of ranks that compute one after the other; empty where nothing does.
std::string not_in_turn(const BenchOptions& options, bool has_links) {
  if (has_links) {
    return "--link hides its time behind the other ranks' with --in-turn: leave it out";
  }
  if (!options.traces.empty()) {
    return "--trace shows ranks that draw together, and --in-turn one by one: give one of them";
  }
  if (options.group_norm == GroupNormMode::synchronous) {
    return "--group-norm synchronous waits for all ranks, which --in-turn has compute one by one: "
           "give one of them";
  }
  return "";
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
  if (const std::optional<int> status = examples::parse(app, argc, argv)) return *status;
  if (options.steps < options.sync_steps + 2) {
    return examples::usage_error(
        app, fmt::format("--steps {} leaves no steady step but the last after {} synchronous ones: "
                         "at least {} are needed",
                         options.steps, options.sync_steps, options.sync_steps + 2));
  }
  const std::string problem =
      examples::contradiction(options.device, options.dtype, options.threads);
  if (!problem.empty()) return examples::usage_error(app, problem);
  const bool has_links = std::ranges::any_of(
      options.links, [](const std::optional<Link>& link) { return link.has_value(); });
  if (options.device.cuda && has_links) {
    return examples::usage_error(app, "--link is for --device cpu: leave it out");
  }
  if (options.in_turn) {
    const std::string wrong = not_in_turn(options, has_links);
    if (!wrong.empty()) return examples::usage_error(app, wrong);
  }
  examples::drop_repeated(options.methods);
  examples::drop_repeated(options.ranks);
  examples::drop_repeated(options.partials);
  examples::drop_repeated(options.pools);
  examples::drop_repeated(options.guidances);
  examples::drop_repeated(options.sizes);
  for (std::optional<Link>& link : options.links) {
    if (link) link->shared = options.shared_link;
  }
  examples::drop_repeated(options.links);
  const int most_ranks = *std::max_element(options.ranks.begin(), options.ranks.end());
  if (options.device.cuda) options.threads = 1;
  if (options.threads == 0) options.threads = std::max(1, World::cores() / most_ranks);
  return options;
}

}  // namespace pcpp::benchmarks
