#include "generate_options.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cctype>
#include <climits>
#include <cstdint>
#include <optional>
#include <utility>

#include "command_line.h"
#include "steering_options.h"

namespace pcpp::examples {

namespace {

// FILE or FILE:SCALE. Throws CLI::ValidationError.
Lora parse_lora(const std::string& text) {
  Lora lora{text};
  const std::size_t colon = text.rfind(':');
  if (colon != text.npos && parse_number<double>(text.substr(colon + 1))) {
    lora.file = text.substr(0, colon);
    lora.scale = number_in("--lora", text.substr(colon + 1), -kMostScale, kMostScale);
  }
  if (lora.file.empty()) {
    throw CLI::ValidationError(fmt::format("--lora: '{}' names no file", text));
  }
  return lora;
}

// FILE or FILE:WORD. Throws CLI::ValidationError.
TextualInversion parse_textual_inversion(const std::string& text) {
  constexpr std::string_view kExtension = ".safetensors:";
  const std::size_t colon = text.rfind(kExtension);
  if (text.empty()) throw CLI::ValidationError("--textual-inversion: '' names no file");
  if (colon == text.npos) return {text};
  const std::size_t end = colon + kExtension.size();
  if (end == text.size()) {
    throw CLI::ValidationError(
        fmt::format("--textual-inversion: '{}' names no word after its colon", text));
  }
  return {text.substr(0, end - 1), text.substr(end)};
}

std::string lower_case(std::string text) {
  std::ranges::transform(text, text.begin(), [](unsigned char letter) {
    return static_cast<char>(std::tolower(letter));
  });
  return text;
}

void add_model_options(CLI::App& app, GenerateOptions& options) {
  add_path(app, "--model", options.model,
           "folder of the model, in diffusers' layout, or a single safetensors file");
  add_path(
      app, "--configs", options.configs,
      "of a single file: folder in diffusers' layout, for its configs and tokenizers (default: "
      "those of Stable Diffusion 1.x, 2.x or SDXL)");
  add_path(app, "--variant", options.variant,
           "of the weights, as fp16 (default: the plain files where they are there)")
      ->type_name("TEXT");
  add_path(
      app, "--vae", options.vae,
      "VAE in place of the model's: a folder in diffusers' layout, or a single safetensors file");
  const auto add_lora = [&](const std::vector<std::string>& texts) {
    for (const std::string& text : texts) options.loras.push_back(parse_lora(text));
  };
  take_each(app.add_option_function<std::vector<std::string>>(
                   "--lora", add_lora,
                   "safetensors file with a change of the weights, how much of it (default: 1); "
                   "once for each")
                ->type_name("FILE[:SCALE]"));
  const auto add_inversion = [&](const std::vector<std::string>& texts) {
    for (const std::string& text : texts) {
      options.textual_inversions.push_back(parse_textual_inversion(text));
    }
  };
  take_each(app.add_option_function<std::vector<std::string>>(
                   "--textual-inversion", add_inversion,
                   "safetensors file with vectors that a word of prompts stands for, and the word "
                   "(default: the file's name without .safetensors); once for each")
                ->type_name("FILE[:WORD]"));
}

void add_picture_options(CLI::App& app, GenerateOptions& options) {
  take_each(app.add_option("--prompt", options.prompts,
                           "what to draw; once for each picture of the batch"));
  take_each(app.add_option("--negative-prompt", options.negative_prompts,
                           "what to stay away from; one for all, or one for each prompt"));
  add_choice<PromptSyntax>(
      app, "--prompt-syntax", kPromptSyntaxes,
      "comfyui: (words:1.3) weigh more or less, and long prompts are read whole (default: plain)",
      [&](PromptSyntax syntax) { options.prompt_syntax = syntax; });
  add_number(app, "--clip-skip", options.clip_skip, 0, INT_MAX,
             "how many of the text encoders' last layers are left out (default: 0)");
  take_each(
      app.add_option("--init-image", options.init_images,
                     "PNG or JPEG file that the picture begins with; one for all, or one for each "
                     "prompt")
          ->type_name("FILE"));
  take_each(
      app.add_option("--mask", options.masks,
                     "PNG or JPEG file, white where the picture is drawn anew and black where the "
                     "init image stays; one for all, or one for each prompt")
          ->type_name("FILE"));
  add_number(app, "--strength", options.strength, 0, 1,
             "how much of the init image is drawn anew, above 0 and at most 1 (default: 0.8, and 1 "
             "with --mask)");
  add_number(app, "--width", options.width, 1, kMostPixels,
             "pixels, a multiple of 8, or of the VAE's scale (default: the init image's, the first "
             "control image's, or the model's)");
  add_number(app, "--height", options.height, 1, kMostPixels,
             "pixels, a multiple of 8, or of the VAE's scale (default: the init image's, the first "
             "control image's, or the model's)");
  add_number(app, "--steps", options.steps, 1, INT_MAX, "denoising steps");
  add_number(
      app, "--guidance-scale", options.guidance_scale, 0, 1000,
      "how closely to follow the prompt; 1 or below: no guidance (default: the model's, as a "
      "rule 7.5, with SDXL 5)");
  add_number(app, "--guidance-start", options.guidance_start, 0, 1,
             "guidance begins after this part of the steps");
  add_number(app, "--guidance-end", options.guidance_end, 0, 1,
             "it ends after this part of the steps, which take half the time from then on");
  add_number(app, "--guidance-rescale", options.guidance_rescale, 0, 1,
             "how much of guidance's contrast is taken back");
  add_numbers(app, "--seed", options.seeds, 0, UINT64_MAX,
              "of all noise; several: all is drawn for each, one after the other (default: 0)")
      ->type_name("UINT,...");
  add_number(app, "--images", options.images, 1, kMostImages, "pictures for each prompt");
  add_choice<SchedulerKind>(app, "--scheduler", kSchedulers, "default: the model's",
                            [&](SchedulerKind kind) { options.scheduler = kind; });
  add_choice<TimestepSpacing>(app, "--timestep-spacing", kTimestepSpacings,
                              "which of the training's timesteps are visited; trailing for Turbo, "
                              "Lightning and Hyper-SD (default: the model's)",
                              [&](TimestepSpacing spacing) { options.timestep_spacing = spacing; });
  add_choice<SigmaSpacing>(
      app, "--sigmas", kSigmaSpacings,
      "of euler, dpmpp_2m, dpmpp_2m_sde and unipc: how noise levels are spaced (default: "
      "the model's)",
      [&](SigmaSpacing spacing) { options.sigmas = spacing; });
}

void add_parallel_options(CLI::App& app, GenerateOptions& options) {
  add_device_options(app, options.device);
  add_gpu_options(app, options.device);
  add_choice<DataType>(app, "--dtype", kDataTypes, "of the networks (default: float32)",
                       [&](DataType dtype) { options.dtype = dtype; });
  add_number(app, "--ranks", options.ranks, 1, World::kMostRanks,
             "how many draw together (default: as fit the cores, or one for each GPU)");
  add_number(app, "--threads", options.threads, 1, World::kMostRanks,
             "of each rank (default: the cores shared evenly)");
  add_number(app, "--extra-weight-mb", options.extra_weight_mb, 0, INT64_MAX / kBytesPerMegabyte,
             "megabytes that weights may take beyond their size to compute faster");
  add_path(app, "--convolution-times", options.convolution_times,
           "file with times of this machine's convolutions; none: decide without (default: "
           "convolutions.json in the user's cache)");
  add_choice<Method>(
      app, "--method", kMethods,
      "how the ranks share the work; auto: the fastest of single and pcpp (default: pcpp)",
      [&](Method method) { options.method = method; });
  add_number(app, "--partial", options.partial, 0, 1,
             "pcpp: the part of an adjacent band that attention reads, 0 to 1");
  add_number(app, "--pool", options.pool, 0, INT_MAX,
             "pcpp: unread tokens of other bands that one pooled token stands for; 0: none");
  add_number(app, "--sync-steps", options.sync_steps, 0, INT_MAX,
             "first steps that wait for fresh data");
  add_path(app, "--profile", options.profile,
           "auto: plan with this file of `plan --measure`, or for this GPU by its name of "
           "`plan --list-profiles` (default: these ranks, measured now)");
  add_choice<Guidance>(
      app, "--guidance", kGuidances,
      "both branches on every rank, or one half of the ranks each (default: batched)",
      [&](Guidance guidance) { options.guidance = guidance; });
  add_choice<RowFormat>(app, "--row-format", kRowFormats,
                        "how rows travel in steady steps (default: exact)",
                        [&](RowFormat format) { options.row_format = format; });
  add_numbers(app, "--bands", options.bands, 1, INT_MAX,
              "latent rows of each band from the top (default: as equal as can be)")
      ->type_name("ROWS,...");
  add_choice<GroupNormMode>(app, "--group-norm", kGroupNorms,
                            "statistics in steady steps (default: corrected)",
                            [&](GroupNormMode mode) { options.group_norm = mode; });
}

void add_file_options(CLI::App& app, GenerateOptions& options) {
  add_path(app, "--latents", options.latents, "safetensors file with the initial noise");
  add_path(app, "--prompt-embeds", options.prompt_embeds,
           "safetensors file with the prompt's embeddings, in place of --prompt");
  add_path(app, "--save-latents", options.save_latents, "write the final latents to this file");
  app.add_flag("--save-steps", options.save_steps, "with --save-latents: those of each step too")
      ->disable_flag_override();
  add_path(app, "--output", options.output,
           "the picture, a PNG file; several become NAME-1.png, NAME-2.png, ...; none: "
           "nothing is decoded");
  add_path(app, "--report", options.report, "write a JSON report to this file");
  add_path(app, "--trace", options.trace,
           "write to this file what each rank did when, for Perfetto or chrome://tracing");
}

std::string output_problem(const std::string& output) {
  const std::string kind = lower_case(std::filesystem::path(output).extension().string());
  for (const char* other : {".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".avif"}) {
    if (kind == other) {
      return fmt::format("--output {}: pictures are PNG files: let its name end in .png", output);
    }
  }
  return {};
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
  if (std::string problem = steering_problem(options); !problem.empty()) return problem;
  if (std::string problem = output_problem(options.output); !problem.empty()) return problem;
  if (options.seeds.size() > 1) {
    for (const auto& [name, file] : {std::pair{"--latents", options.latents},
                                     {"--save-latents", options.save_latents},
                                     {"--report", options.report},
                                     {"--trace", options.trace}}) {
      if (!file.empty()) return fmt::format("{} is for one seed: give one, or leave it out", name);
    }
  }
  if (options.save_steps && options.save_latents.empty()) {
    return "--save-steps needs --save-latents";
  }
  if (options.method == Method::single && options.ranks > 1) {
    return fmt::format("--method single draws with 1 rank, not {}: leave out --ranks",
                       options.ranks);
  }
  if (options.method == Method::automatic &&
      (!options.bands.empty() || options.guidance != Guidance::batched)) {
    return "--method auto chooses --bands and --guidance: leave them out";
  }
  return contradiction(options.device, options.dtype, options.threads);
}

// Options that only some others make anything read. Empty where none was given in vain.
std::string unread(const CLI::App& app, const GenerateOptions& options) {
  const bool automatic = options.method == Method::automatic;
  for (const char* name : {"--partial", "--pool"}) {
    if (app.count(name) > 0 && options.method != Method::pcpp && !automatic) {
      return fmt::format("{} is for --method pcpp, not {}: leave it out", name,
                         word_for(kMethods, options.method));
    }
  }
  if (app.count("--profile") > 0 && !automatic) {
    return "--profile is for --method auto: add that, or leave it out";
  }
  if (std::string problem = unread_steering(app, options); !problem.empty()) return problem;
  for (const char* name : {"--prompt-syntax", "--clip-skip", "--textual-inversion"}) {
    if (app.count(name) > 0 && !options.prompt_embeds.empty()) {
      return fmt::format("{} is for --prompt, not --prompt-embeds: leave it out", name);
    }
  }
  for (const char* name : {"--guidance-start", "--guidance-end", "--guidance-rescale"}) {
    if (app.count(name) > 0 && options.guidance_scale.value_or(2) <= 1) {
      return fmt::format(
          "{} is for guidance, of which there is none at a scale of {}: leave it out", name,
          *options.guidance_scale);
    }
  }
  for (const char* name : {"--strength", "--mask"}) {
    if (app.count(name) > 0 && options.init_images.empty()) {
      return fmt::format("{} is for --init-image: add that, or leave it out", name);
    }
  }
  return {};
}

}  // namespace

ParallelConfig GenerateOptions::parallel() const {
  ParallelConfig config = config_of(method, partial, pool);
  config.sync_steps = sync_steps;
  config.group_norm = group_norm;
  config.row_format = row_format;
  config.guidance = guidance;
  config.bands = bands;
  return config;
}

GenerateOptions GenerateOptions::as(const PlannedRun& chosen, const World& world) const {
  GenerateOptions options = *this;
  options.method = method_of(chosen);
  options.ranks = chosen.ranks;
  if (!device.cuda) options.threads = world.threads_per_rank();
  options.guidance = chosen.parallel.guidance;
  options.bands = chosen.parallel.bands;
  return options;
}

std::string GenerateOptions::arrangement() const {
  std::string words = fmt::format("--method {} --ranks {}", word_for(kMethods, method), ranks);
  if (!device.cuda) words += fmt::format(" --threads {}", threads);
  if (method == Method::single) return words;
  words += fmt::format(" --partial {}", partial);
  if (pool > 0) words += fmt::format(" --pool {}", pool);
  return words + fmt::format(" --guidance {} --bands {}", word_for(kGuidances, guidance),
                             fmt::join(bands, ","));
}

std::variant<GenerateOptions, int> parse_command_line(int argc, char** argv) {
  GenerateOptions options;
  options.model = PCPP_DEFAULT_MODEL;
  CLI::App app("Draws pictures with a diffusion model, each split over several ranks.", "generate");
  app.option_defaults()->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
  add_model_options(app, options);
  add_picture_options(app, options);
  add_steering_options(app, options);
  add_parallel_options(app, options);
  add_file_options(app, options);
  if (const std::optional<int> status = parse(app, argc, argv)) return *status;
  std::string problem = contradiction(options);
  if (problem.empty()) problem = unread(app, options);
  if (!problem.empty()) return usage_error(app, problem);
  return options;
}

}  // namespace pcpp::examples
