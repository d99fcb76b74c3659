#include "pipeline/request.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <iterator>
#include <string>
#include <string_view>
#include <vector>

#include "base/check.h"
#include "base/excerpt.h"
#include "cache/exchange_plan.h"
#include "io/unicode.h"
#include "io/weighted_prompt.h"
#include "pipeline/tensors.h"

namespace pcpp {

namespace {

constexpr std::int64_t kMostImages = 65536;
constexpr std::array<std::string_view, 4> kPromptEmbeds = {
    "prompt_embeds", "negative_prompt_embeds", "pooled_prompt_embeds",
    "negative_pooled_prompt_embeds"};

std::int64_t check_size(const char* name, int pixels, int scale) {
  check<ConfigError>(pixels > 0 && pixels <= kMostPixels, "{} {} is outside [{}, {}]", name, pixels,
                     scale, kMostPixels);
  const int below = pixels / scale * scale;
  const std::string near =
      below > 0 ? fmt::format("{} or {}", below, below + scale) : fmt::format("{}", scale);
  check<ConfigError>(pixels % scale == 0, "{} {} is not a multiple of {}: use {}", name, pixels,
                     scale, near);
  return pixels / scale;
}

void check_prompts(const char* name, const std::vector<std::string>& prompts, PromptSyntax syntax) {
  for (std::size_t i = 0; i < prompts.size(); ++i) {
    check<ConfigError>(decode_utf8(prompts[i]).has_value(),
                       "{} {} of {} is not valid UTF-8: encode it so", name, i + 1, prompts.size());
    if (syntax == PromptSyntax::comfyui) parse_weights(prompts[i]);
  }
}

std::int64_t check_texts(const GenerationRequest& request) {
  if (!request.prompt_embeds.empty()) {
    check<ConfigError>(request.prompts.empty() && !request.negative_prompts,
                       "the request has prompts and prompt embeddings: give one of them");
    for (const auto& [name, tensor] : request.prompt_embeds) {
      check<ConfigError>(std::ranges::find(kPromptEmbeds, name) != kPromptEmbeds.end(),
                         "the prompt embeddings have {}, which is none of {}", excerpt(name),
                         fmt::join(kPromptEmbeds, ", "));
    }
    const auto found = request.prompt_embeds.find("prompt_embeds");
    check<ConfigError>(found != request.prompt_embeds.end(),
                       "the prompt embeddings lack prompt_embeds [n, tokens, c]");
    const std::vector<std::int64_t>& shape = found->second.shape;
    check<ConfigError>(
        shape.size() == 3 && std::ranges::all_of(shape, [](auto extent) { return extent > 0; }),
        "prompt_embeds has shape {}: [n, tokens, c] is needed, none of them 0",
        fmt::join(shape, " x "));
    return shape.front();
  }
  check<ConfigError>(!request.prompts.empty(),
                     "the request has no prompt: give one, or prompt embeddings");
  const std::size_t prompts = request.prompts.size();
  const std::size_t negatives = request.negative_prompts ? request.negative_prompts->size() : 1;
  check<ConfigError>(negatives == 1 || negatives == prompts,
                     "{} negative prompts for {} prompts: give one, or one for each", negatives,
                     prompts);
  check_prompts("prompt", request.prompts, request.prompt_syntax);
  if (request.negative_prompts) {
    check_prompts("negative prompt", *request.negative_prompts, request.prompt_syntax);
  }
  return static_cast<std::int64_t>(prompts);
}

void check_images(const char* name, const std::vector<Image>& images) {
  for (const Image& image : images) {
    const int longest = std::max(image.width, image.height);
    check<ConfigError>(std::min(image.width, image.height) > 0 && longest <= kMostPixels,
                       "{} of {}x{} pixels: each side must lie in [1, {}]", name, image.width,
                       image.height, kMostPixels);
    const std::int64_t bytes = std::int64_t{3} * image.width * image.height;
    check<ConfigError>(std::ssize(image.rgb) == bytes,
                       "{} of {}x{} pixels has {} bytes: 3 for each pixel are needed", name,
                       image.width, image.height, image.rgb.size());
  }
}

void check_count(const char* name, const std::vector<Image>& images, std::int64_t prompts) {
  check<ConfigError>(images.size() <= 1 || std::ssize(images) == prompts,
                     "{} {} for {} prompts: give one, or one for each", images.size(), name,
                     prompts);
}

void check_beginning(const GenerationRequest& request, const ModelInfo& model,
                     std::int64_t prompts) {
  check_count("init images", request.init_images, prompts);
  check_count("masks", request.masks, prompts);
  check<ConfigError>(request.masks.empty() || !request.init_images.empty(),
                     "the request has a mask and no init image: give what it keeps a part of");
  check<ConfigError>(!model.inpainting || !request.masks.empty(),
                     "the model is for inpainting: give an init image and a mask, or take a model "
                     "that draws without");
  if (request.init_images.empty()) return;
  const double strength = strength_of(request);
  check<ConfigError>(strength > 0 && strength <= 1,
                     "a strength of {}: above 0, and at most 1, is possible", strength);
  check<ConfigError>(steps_made(request) > 0,
                     "{} steps at a strength of {} leave none to make: ask for more of either",
                     request.steps, strength);
}

void check_scale(const char* name, double scale) {
  constexpr double kMost = 1e6;
  check<ConfigError>(std::abs(scale) <= kMost, "{} is {}: from {} to {} are possible", name, scale,
                     -kMost, kMost);
}

void check_part_of_steps(const char* name, double begin, double end) {
  check<ConfigError>(begin >= 0 && begin < end && end <= 1,
                     "{} from {} to {} of the steps: it must begin before it ends, within [0, 1]",
                     name, begin, end);
}

void check_controls(const GenerationRequest& request, const ModelInfo& model,
                    std::int64_t prompts) {
  check<ConfigError>(std::ssize(request.controls) == model.controlnets,
                     "{} controls for {} ControlNets: give one for each that the pipeline has",
                     request.controls.size(), model.controlnets);
  for (const Control& control : request.controls) {
    check<ConfigError>(!control.images.empty(),
                       "a control has no image: give one, or one for each prompt");
    check_count("control images", control.images, prompts);
    check_scale("a control's scale", control.scale);
    check_part_of_steps("a control", control.start, control.end);
  }
}

void check_image_prompts(const GenerationRequest& request, const ModelInfo& model,
                         std::int64_t prompts) {
  check<ConfigError>(std::ssize(request.image_prompts) == model.ip_adapters,
                     "{} image prompts for {} IP-Adapters: give one for each that the pipeline has",
                     request.image_prompts.size(), model.ip_adapters);
  for (const ImagePrompt& prompt : request.image_prompts) {
    check<ConfigError>(!prompt.images.empty(),
                       "an image prompt has no image: give one, or one for each prompt");
    check_count("images of an image prompt", prompt.images, prompts);
    check_scale("an image prompt's scale", prompt.scale);
  }
}

void check_noise(const GenerationRequest& request, const ModelInfo& model,
                 const RequestSizes& sizes) {
  check<ConfigError>(request.seeds.empty() || std::ssize(request.seeds) == sizes.images,
                     "{} seeds for {} pictures: give one for each, or `seed` for all",
                     request.seeds.size(), sizes.images);
  if (!request.latents) return;
  const std::vector<std::int64_t> expected = {sizes.images, model.latent_channels, sizes.rows,
                                              sizes.columns};
  check<ConfigError>(request.latents->shape == expected,
                     "latents have shape {}, this request needs {}",
                     fmt::join(request.latents->shape, " x "), fmt::join(expected, " x "));
  check_tensor(*request.latents, "latents");
}

void check_turns(const GenerationRequest& request) {
  if (!request.ranks_in_turn) return;
  check<ConfigError>(!request.automatic,
                     "ranks in turn measure one arrangement: leave the choice to a request without "
                     "ranks_in_turn");
  check<ConfigError>(!request.trace,
                     "a trace of ranks in turn would show nothing of how they draw together: ask "
                     "for one of them");
  check<ConfigError>(request.parallel.group_norm != GroupNormMode::synchronous ||
                         request.parallel.reach == Reach::none,
                     "GroupNorm with synchronous statistics waits for all ranks in every step, "
                     "which cannot compute in turn then: take corrected, stale or local");
}

}  // namespace

RequestSizes check_request(const GenerationRequest& request, const ModelInfo& model) {
  RequestSizes sizes;
  check_images("an init image", request.init_images);
  check_images("a mask", request.masks);
  for (const Control& control : request.controls) {
    check_images("a control image", control.images);
  }
  for (const ImagePrompt& prompt : request.image_prompts) {
    check_images("an image prompt's image", prompt.images);
  }
  const PictureSize size = model.picture_size(request);
  sizes.width = size.width;
  sizes.height = size.height;
  sizes.columns = check_size("width", sizes.width, model.scale);
  sizes.rows = check_size("height", sizes.height, model.scale);
  check<ConfigError>(request.steps > 0 && request.steps <= model.most_steps,
                     "{} steps: from 1 to {} are possible, the timesteps of the model's training",
                     request.steps, model.most_steps);
  check_enumerator("prompt_syntax", request.prompt_syntax, PromptSyntax::comfyui);
  check<ConfigError>(request.clip_skip == 0 || request.prompt_embeds.empty(),
                     "a clip_skip of {} with prompt embeddings, which no text encoder makes: leave "
                     "it 0",
                     request.clip_skip);
  check<ConfigError>(request.clip_skip >= 0 && request.clip_skip <= model.most_clip_skip,
                     "a clip_skip of {}: from 0 to {} layers of the text encoders can be left out",
                     request.clip_skip, model.most_clip_skip);
  if (request.scheduler) {
    check_enumerator("scheduler", *request.scheduler, SchedulerKind::lcm);
  }
  if (request.timestep_spacing) {
    check_enumerator("timestep_spacing", *request.timestep_spacing, TimestepSpacing::trailing);
  }
  if (request.sigmas) check_enumerator("sigmas", *request.sigmas, SigmaSpacing::exponential);
  sizes.guidance_scale = request.guidance_scale.value_or(model.default_guidance_scale);
  check_scale("the guidance scale", sizes.guidance_scale);
  check_part_of_steps("guidance", request.guidance_start, request.guidance_end);
  check<ConfigError>(request.guidance_rescale >= 0 && request.guidance_rescale <= 1,
                     "a guidance_rescale of {}: it must be in [0, 1]", request.guidance_rescale);
  check<ConfigError>(request.images_per_prompt > 0, "{} images a prompt: at least 1 is needed",
                     request.images_per_prompt);
  check<ConfigError>(request.peer_timeout.count() > 0,
                     "a peer timeout of {} ms: it must be above 0", request.peer_timeout.count());
  sizes.guided = sizes.guidance_scale > 1 && !model.guidance_embedded;
  sizes.embedded = !request.prompt_embeds.empty();
  check_turns(request);
  const std::int64_t prompts = check_texts(request);
  check<ConfigError>(prompts <= kMostImages / request.images_per_prompt,
                     "{} prompts of {} images each: at most {} images can be asked for at once",
                     prompts, request.images_per_prompt, kMostImages);
  sizes.images = prompts * request.images_per_prompt;
  check_beginning(request, model, prompts);
  check_controls(request, model, prompts);
  check_image_prompts(request, model, prompts);
  check_noise(request, model, sizes);
  return sizes;
}

double strength_of(const GenerationRequest& request) {
  return request.strength.value_or(request.masks.empty() ? 0.8 : 1.0);
}

StepRange steps_within(double begin, double end, int steps) {
  const auto holds = [&](int step) {
    return static_cast<double>(step) / steps >= begin &&
           static_cast<double>(step + 1) / steps <= end;
  };
  StepRange range;
  while (range.first < steps && !holds(range.first)) ++range.first;
  range.end = range.first;
  while (range.end < steps && holds(range.end)) ++range.end;
  return range;
}

int steps_made(const GenerationRequest& request) {
  if (request.init_images.empty()) return request.steps;
  // In double precision and cut, as diffusers does.
  return std::min(static_cast<int>(request.steps * strength_of(request)), request.steps);
}

void check_parts(const GenerationRequest& request, const ModelInfo& model) {
  check<ConfigError>(model.text_encoders > 0 || request.prompts.empty(),
                     "the model has no text encoder to read prompts: give prompt embeddings, or "
                     "take a model that has one");
  check<ConfigError>(model.has_vae || (!request.decode && request.init_images.empty()),
                     "the model has no VAE, by which pictures are read and drawn: name one, or "
                     "draw latents alone");
}

void check_latents(const FloatTensor& latents, const ModelInfo& model) {
  check<ConfigError>(model.has_vae, "the model has no VAE, by which pictures are drawn: name one");
  const std::vector<std::int64_t>& shape = latents.shape;
  check<ConfigError>(shape.size() == 4 && shape[1] == model.latent_channels,
                     "latents have shape {}, this model's are images x {} x rows x columns",
                     fmt::join(shape, " x "), model.latent_channels);
  const std::int64_t most = kMostPixels / model.scale;
  check<ConfigError>(std::max(shape[2], shape[3]) <= most,
                     "latents of {}x{} rows and columns: neither may be more than {}", shape[2],
                     shape[3], most);
  check_tensor(latents, "latents");
}

void check_automatic(const ParallelConfig& parallel, int ranks) {
  check<ConfigError>(parallel.bands.empty(),
                     "an automatic request chooses its bands: leave them empty");
  check_settings(parallel, ranks);
}

}  // namespace pcpp
