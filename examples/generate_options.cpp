#include "generate_options.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <charconv>
#include <cstdint>
#include <cstdio>
#include <map>

namespace pcpp::examples {

namespace {

template <typename Value>
using Words = std::vector<std::pair<std::string, Value>>;

const Words<Method> kMethods = {{"single", Method::single},
                                {"naive", Method::naive},
                                {"distrifusion", Method::distrifusion},
                                {"pcpp", Method::pcpp}};
const Words<DataType> kDataTypes = {{"float32", DataType::float32},
                                    {"bfloat16", DataType::bfloat16}};
const Words<Guidance> kGuidances = {{"batched", Guidance::batched}, {"split", Guidance::split}};
const Words<GroupNormMode> kGroupNorms = {{"corrected", GroupNormMode::corrected},
                                          {"stale", GroupNormMode::stale},
                                          {"local", GroupNormMode::local},
                                          {"synchronous", GroupNormMode::synchronous}};
const Words<RowFormat> kRowFormats = {{"exact", RowFormat::exact}, {"int8", RowFormat::int8}};
const Words<SchedulerKind> kSchedulers = {{"ddim", SchedulerKind::ddim},
                                          {"euler", SchedulerKind::euler}};

template <typename Value>
std::string word_for(const Words<Value>& words, Value value) {
  const auto found = std::find_if(words.begin(), words.end(),
                                  [&](const auto& entry) { return entry.second == value; });
  return found == words.end() ? "" : found->first;
}

// An option that takes one of some words, which its help and its error list.
template <typename Value>
void add_choice(CLI::App& app, const std::string& name, const Words<Value>& words,
                const std::string& help, std::function<void(Value)> store) {
  std::string list;
  for (const auto& [word, value] : words) list += (list.empty() ? "" : "|") + word;
  const auto parse = [name, words, list, store](const std::string& text) {
    for (const auto& [word, value] : words) {
      if (word != text) continue;
      store(value);
      return;
    }
    throw CLI::ValidationError(fmt::format("{}: '{}' is not one of {}", name, text, list));
  };
  app.add_option_function<std::string>(name, parse, help)->type_name(list);
}

void add_picture_options(CLI::App& app, GenerateOptions& options) {
  app.add_option("--model", options.model, "folder of the model, in diffusers' layout")
      ->capture_default_str();
  app.add_option("--prompt", options.prompts, "what to draw; once for each picture of the batch")
      ->allow_extra_args(false)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  app.add_option("--negative-prompt", options.negative_prompts,
                 "what to stay away from; one for all, or one for each prompt")
      ->allow_extra_args(false)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  app.add_option("--width", options.width, "pixels, a multiple of 8 (default: the model's)");
  app.add_option("--height", options.height, "pixels, a multiple of 8 (default: the model's)");
  app.add_option("--steps", options.steps, "denoising steps")->capture_default_str();
  app.add_option("--guidance-scale", options.guidance_scale,
                 "how closely to follow the prompt; 1 or below: no guidance")
      ->capture_default_str();
  const auto parse_seed = [&options](const std::string& text) {
    const char* end = text.data() + text.size();
    const auto [stop, error] = std::from_chars(text.data(), end, options.seed);
    if (error == std::errc() && stop == end) return;
    throw CLI::ValidationError(
        fmt::format("--seed: '{}' is not a whole number from 0 to {}", text, UINT64_MAX));
  };
  app.add_option_function<std::string>("--seed", parse_seed, "of the initial noise (default: 0)")
      ->type_name("UINT");
  app.add_option("--images", options.images, "pictures for each prompt")->capture_default_str();
  add_choice<SchedulerKind>(app, "--scheduler", kSchedulers, "default: the model's",
                            [&](SchedulerKind kind) { options.scheduler = kind; });
}

void add_parallel_options(CLI::App& app, GenerateOptions& options) {
  app.add_option_function<std::string>(
         "--device",
         [](const std::string& device) {
           if (device == "cpu") return;
           throw CLI::ValidationError(fmt::format("--device: '{}' is not one of cpu", device));
         },
         "what the ranks compute on")
      ->type_name("cpu");
  add_choice<DataType>(app, "--dtype", kDataTypes, "of the networks (default: float32)",
                       [&](DataType dtype) { options.dtype = dtype; });
  app.add_option("--ranks", options.ranks, "how many draw together (default: as fit the cores)");
  app.add_option("--threads", options.threads, "of each rank (default: the cores shared evenly)");
  add_choice<Method>(app, "--method", kMethods, "how the ranks share the work (default: pcpp)",
                     [&](Method method) { options.method = method; });
  app.add_option("--partial", options.partial,
                 "pcpp: the part of an adjacent band that attention reads, 0 to 1")
      ->capture_default_str();
  app.add_option("--pool", options.pool,
                 "pcpp: unread tokens of other bands that one pooled token stands for; 0: none")
      ->capture_default_str();
  app.add_option("--sync-steps", options.sync_steps, "first steps that wait for fresh data")
      ->capture_default_str();
  add_choice<Guidance>(app, "--guidance", kGuidances,
                       "both branches on every rank, or one half of the ranks each",
                       [&](Guidance guidance) { options.guidance = guidance; });
  add_choice<RowFormat>(app, "--row-format", kRowFormats,
                        "how rows travel in steady steps (default: exact)",
                        [&](RowFormat format) { options.row_format = format; });
  add_choice<GroupNormMode>(app, "--group-norm", kGroupNorms,
                            "statistics in steady steps (default: corrected)",
                            [&](GroupNormMode mode) { options.group_norm = mode; });
}

void add_file_options(CLI::App& app, GenerateOptions& options) {
  app.add_option("--latents", options.latents, "safetensors file with the initial noise");
  app.add_option("--prompt-embeds", options.prompt_embeds,
                 "safetensors file with the prompt's embeddings, in place of --prompt");
  app.add_option("--save-latents", options.save_latents, "write the final latents to this file");
  app.add_flag("--save-steps", options.save_steps, "with --save-latents: those of each step too");
  app.add_option("--output", options.output,
                 "the picture, a PNG file; several become NAME-1.png, NAME-2.png, ...");
  app.add_option("--report", options.report, "write a JSON report to this file");
}

// What the parser cannot see: options that do not go together. Empty where all is well.
std::string contradiction(const GenerateOptions& options) {
  if (options.prompts.empty() && options.prompt_embeds.empty()) {
    return "--prompt or --prompt-embeds is required";
  }
  if (!options.prompt_embeds.empty() &&
      (!options.prompts.empty() || !options.negative_prompts.empty())) {
    return "--prompt-embeds takes the place of --prompt and --negative-prompt: give one of them";
  }
  if (options.save_steps && options.save_latents.empty()) {
    return "--save-steps needs --save-latents";
  }
  if (options.method == Method::single && options.ranks > 1) {
    return fmt::format("--method single draws with 1 rank, not {}: leave out --ranks",
                       options.ranks);
  }
  if (options.ranks < 0 || options.threads < 0) return "--ranks and --threads are at least 1";
  return "";
}

int usage_error(const std::string& text) {
  fmt::print(stderr, "generate: {} (see generate --help)\n", text);
  return 2;
}

}  // namespace

ParallelConfig GenerateOptions::parallel() const {
  ParallelConfig config = ParallelConfig::pcpp(partial);
  if (method == Method::naive) config = ParallelConfig::naive();
  if (method == Method::distrifusion) config = ParallelConfig::distrifusion();
  config.partial = partial;
  config.pool = pool;
  config.sync_steps = sync_steps;
  config.group_norm = group_norm;
  config.row_format = row_format;
  config.guidance = guidance;
  return config;
}

std::variant<GenerateOptions, int> parse_command_line(int argc, char** argv) {
  GenerateOptions options;
  options.model = PCPP_DEFAULT_MODEL;
  CLI::App app("Draws pictures with a diffusion model, each split over several ranks.", "generate");
  app.option_defaults()->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
  add_picture_options(app, options);
  add_parallel_options(app, options);
  add_file_options(app, options);
  try {
    app.parse(argc, argv);
  } catch (const CLI::CallForHelp&) {
    fmt::print("{}", app.help());
    return 0;
  } catch (const CLI::ParseError& error) {
    return usage_error(error.what());
  }
  const std::string problem = contradiction(options);
  if (!problem.empty()) return usage_error(problem);
  if (options.output.empty() && options.save_latents.empty() && options.report.empty()) {
    options.output = "picture.png";
  }
  return options;
}

std::string name_of(Method method) { return word_for(kMethods, method); }
std::string name_of(DataType dtype) { return word_for(kDataTypes, dtype); }
std::string name_of(Guidance guidance) { return word_for(kGuidances, guidance); }
std::string name_of(RowFormat format) { return word_for(kRowFormats, format); }
std::string name_of(GroupNormMode mode) { return word_for(kGroupNorms, mode); }

}  // namespace pcpp::examples
