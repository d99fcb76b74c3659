// generate: pictures from a prompt, drawn by several ranks at once. See README.md.

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <iterator>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "command_line.h"
#include "generate_options.h"
#include "interrupt.h"
#include "pcpp/output_file.h"
#include "progress.h"
#include "report.h"

namespace pcpp::examples {

namespace {

using std::chrono::steady_clock;

double seconds_since(steady_clock::time_point begin) {
  return std::chrono::duration<double>(steady_clock::now() - begin).count();
}

// But for its seed.
GenerationRequest make_request(const GenerateOptions& options, const Interrupt& interrupt,
                               Progress& progress) {
  GenerationRequest request;
  request.prompts = options.prompts;
  if (!options.negative_prompts.empty()) request.negative_prompts = options.negative_prompts;
  request.prompt_syntax = options.prompt_syntax;
  request.clip_skip = options.clip_skip;
  request.width = options.width;
  request.height = options.height;
  request.steps = options.steps;
  request.guidance_scale = options.guidance_scale;
  request.guidance_start = options.guidance_start;
  request.guidance_end = options.guidance_end;
  request.guidance_rescale = options.guidance_rescale;
  request.images_per_prompt = options.images;
  request.scheduler = options.scheduler;
  request.timestep_spacing = options.timestep_spacing;
  request.sigmas = options.sigmas;
  request.parallel = options.parallel();
  request.automatic = options.method == Method::automatic;
  request.decode = options.draws_pictures();
  request.keep_steps = options.save_steps;
  request.trace = !options.trace.empty();
  request.stop = interrupt.token();
  request.on_step = [&progress](const StepProgress& step) { progress.show(step); };
  for (const std::filesystem::path& file : options.init_images) {
    request.init_images.push_back(read_image(file));
  }
  for (const std::filesystem::path& file : options.masks) request.masks.push_back(read_image(file));
  request.strength = options.strength;
  for (std::size_t net = 0; net < options.controlnets.size(); ++net) {
    request.controls.push_back(options.control(net));
    for (const std::filesystem::path& file : options.images_of(net)) {
      request.controls.back().images.push_back(read_image(file));
    }
  }
  for (std::size_t adapter = 0; adapter < options.ip_adapters.size(); ++adapter) {
    request.image_prompts.push_back({{}, options.ip_scale(adapter)});
    for (const std::filesystem::path& file : options.ip_images_of(adapter)) {
      request.image_prompts.back().images.push_back(read_image(file));
    }
  }
  if (!options.latents.empty()) {
    TensorMap file = load_tensors(options.latents);
    const auto found = file.find("latents");
    if (found == file.end()) {
      throw CheckpointError(fmt::format("{} holds no tensor named latents", options.latents));
    }
    request.latents = std::move(found->second);
  }
  if (!options.prompt_embeds.empty()) request.prompt_embeds = load_tensors(options.prompt_embeds);
  return request;
}

int device_count(const GenerateOptions& options) {
  if (options.device.cuda) return static_cast<int>(options.device.used_gpus().size());
  return std::max(1, World::cores() / std::max(1, options.threads));
}

// The ranks that were asked for, those of the bands or, if neither was, as many as the devices and
// the picture allow.
int choose_ranks(const GenerateOptions& options, const GenerationRequest& request,
                 const ModelInfo& model) {
  if (options.method == Method::single) return 1;
  if (options.ranks > 0) return options.ranks;
  const bool split = options.guidance == Guidance::split;
  const int bands = static_cast<int>(options.bands.size());
  if (bands > 0) return split ? 2 * bands : bands;
  const int patches = std::max(1, model.most_patches(model.picture_size(request).height));
  const int devices = device_count(options);
  const double scale = options.guidance_scale.value_or(model.default_guidance_scale);
  const bool may_split =
      options.method == Method::automatic && scale > 1 && !model.guidance_embedded;
  const int ranks = std::min(devices, split || may_split ? 2 * patches : patches);
  return split ? std::max(2, ranks / 2 * 2) : std::max(1, ranks);
}

// Where the pictures of so many runs of a checked request go, run by run.
std::vector<std::filesystem::path> picture_paths(const GenerationRequest& request, std::size_t runs,
                                                 const std::string& output) {
  if (!request.decode) return {};
  std::size_t count = request.prompts.size();
  const auto embeds = request.prompt_embeds.find("prompt_embeds");
  if (embeds != request.prompt_embeds.end()) {
    count = static_cast<std::size_t>(embeds->second.shape.front());
  }
  count *= static_cast<std::size_t>(request.images_per_prompt) * runs;
  if (count == 1) return {output};
  const std::filesystem::path path(output);
  std::vector<std::filesystem::path> paths;
  for (std::size_t i = 1; i <= count; ++i) {
    const std::string name =
        fmt::format("{}-{}{}", path.stem().string(), i, path.extension().string());
    paths.push_back(path.parent_path() / name);
  }
  return paths;
}

void write_outputs(const RunFacts& facts) {
  const GenerateOptions& options = facts.options;
  const GenerationResult& result = facts.result;
  for (std::size_t i = 0; i < result.images.size(); ++i) {
    write_png(facts.pictures[i], result.images[i], text_chunks(facts, i));
    print_to(stdout, "{}\n", facts.pictures[i].string());
  }
  if (!options.save_latents.empty()) {
    TensorMap tensors = {{"latents", result.latents}};
    for (std::size_t i = 0; i < result.step_latents.size(); ++i) {
      tensors[fmt::format("step_{:03}", i)] = result.step_latents[i];
    }
    save_tensors(options.save_latents, tensors);
  }
  if (!options.report.empty()) write_file(options.report, report_json(facts));
  if (!options.trace.empty()) write_chrome_trace(options.trace, result, setting_words(facts));
}

std::vector<std::filesystem::path> input_files(const GenerateOptions& options) {
  std::vector<std::filesystem::path> files = {options.model,   options.configs,
                                              options.vae,     options.latents,
                                              options.profile, options.prompt_embeds};
  if (options.convolution_times != kNone) files.emplace_back(options.convolution_times);
  for (const auto* several :
       {&options.controlnets, &options.init_images, &options.masks, &options.control_images,
        &options.ip_adapters, &options.image_encoders, &options.ip_images}) {
    files.insert(files.end(), several->begin(), several->end());
  }
  for (const Lora& lora : options.loras) files.push_back(lora.file);
  for (const TextualInversion& inversion : options.textual_inversions) {
    files.push_back(inversion.file);
  }
  return files;
}

// As far as they are read before any weight.
PipelineOptions config_options(const GenerateOptions& options) {
  PipelineOptions loading = options.device.pipeline_options();
  if (!options.configs.empty()) loading.configs = options.configs;
  if (!options.vae.empty()) loading.vae = options.vae;
  loading.controlnets = options.controlnets;
  for (std::size_t adapter = 0; adapter < options.ip_adapters.size(); ++adapter) {
    loading.ip_adapters.push_back(options.ip_adapter(adapter));
  }
  return loading;
}

PipelineOptions pipeline_options(const GenerateOptions& options, const Interrupt& interrupt) {
  PipelineOptions loading = config_options(options);
  loading.dtype = options.dtype;
  if (!options.variant.empty()) loading.variant = options.variant;
  loading.loras = options.loras;
  loading.textual_inversions = options.textual_inversions;
  loading.extra_weight_bytes = options.extra_weight_mb * kBytesPerMegabyte;
  if (options.convolution_times == kNone) {
    loading.convolution_times.emplace();
  } else if (!options.convolution_times.empty()) {
    loading.convolution_times = options.convolution_times;
  }
  loading.stop = interrupt.token();
  if (!options.profile.empty()) loading.profile = read_profile(options.profile);
  return loading;
}

void tell_of(const GenerationResult& result, const GenerateOptions& drawn) {
  if (result.truncated_tokens > 0) {
    print_to(
        stderr,
        "warning: the last {} tokens of the longest text were left out; --prompt-syntax comfyui "
        "reads them\n",
        result.truncated_tokens);
  }
  if (result.chosen) {
    print_to(stderr, "auto: {} (predicted: {:.1f} ms a step, {:.2f} times one device's speed)\n",
             drawn.arrangement(), result.chosen->step_ms, result.chosen->speedup);
  }
}

void run(const GenerateOptions& options, const Interrupt& interrupt, Progress& progress) {
  GenerationRequest request = make_request(options, interrupt, progress);
  const steady_clock::time_point begin = steady_clock::now();
  const ModelInfo model = read_model_info(options.model, config_options(options));
  const int ranks = choose_ranks(options, request, model);
  model.check(request, ranks);
  const std::size_t runs = options.seeds.size();
  const std::vector<std::filesystem::path> pictures = picture_paths(request, runs, options.output);
  std::vector<std::filesystem::path> outputs = pictures;
  outputs.insert(outputs.end(), {options.save_latents, options.report, options.trace});
  check_outputs(outputs, input_files(options));
  const World world = options.device.world(ranks, options.threads);
  Pipeline pipeline(options.model, world, pipeline_options(options, interrupt));
  const double load_seconds = seconds_since(begin);
  auto first = pictures.begin();
  for (const std::uint64_t seed : options.seeds) {
    request.seed = seed;
    const GenerationResult result = pipeline.generate(request);
    const GenerateOptions drawn = result.chosen ? options.as(*result.chosen, world) : options;
    if (seed == options.seeds.front()) tell_of(result, drawn);
    const auto last = first + std::ssize(pictures) / static_cast<std::ptrdiff_t>(runs);
    write_outputs({drawn, world, result, seed, load_seconds, {first, last}});
    first = last;
  }
}

int main_with(int argc, char** argv) {
  hold_closed_streams();
  const auto parsed = parse_command_line(argc, argv);
  if (const int* status = std::get_if<int>(&parsed)) return *status;
  Progress progress;
  try {
    const Interrupt interrupt;
    run(std::get<GenerateOptions>(parsed), interrupt, progress);
    return finish_output();
  } catch (const Cancelled&) {
    progress.finish();
    print_to(stderr, "cancelled\n");
    return Interrupt::kExitStatus;
  } catch (const std::exception& error) {
    progress.finish();
    return report_error(error);
  }
}

}  // namespace

}  // namespace pcpp::examples

int main(int argc, char** argv) { return pcpp::examples::main_with(argc, argv); }
