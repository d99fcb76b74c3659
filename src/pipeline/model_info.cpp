#include "pipeline/model_info.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <climits>
#include <optional>
#include <string>
#include <string_view>

#include "base/check.h"
#include "base/excerpt.h"
#include "base/log.h"
#include "cache/exchange_plan.h"
#include "models/vae_config.h"
#include "parallel/topology.h"
#include "pipeline/image_prompts.h"
#include "pipeline/request.h"
#include "pipeline/translate.h"

namespace pcpp {

namespace {

constexpr std::int64_t kDefaultSide = 64;  // latent rows, where the config has no sample_size
constexpr std::int64_t kMostSide = 16384;

int most_clip_skip(const std::vector<ClipShape>& encoders) {
  int most = encoders.empty() ? 0 : INT_MAX;
  for (const ClipShape& encoder : encoders) {
    // Of two, each leaves out its last layer anyway.
    const std::int64_t others = encoder.layers + 1 - std::ssize(encoders);
    most = static_cast<int>(std::clamp<std::int64_t>(others, 0, most));
  }
  return most;
}

}  // namespace

std::vector<ClipShape> text_encoders_of(const Checkpoint& checkpoint) {
  std::vector<ClipShape> shapes;
  for (const char* name : {"text_encoder", "text_encoder_2"}) {
    if (!checkpoint.has(name)) continue;
    ConfigReader config = checkpoint.component(name).config();
    shapes.push_back(read_clip_shape(config));
  }
  return shapes;
}

ModelInfo model_info(const Checkpoint& checkpoint, const UNetConfig& unet,
                     const std::vector<ControlNetFile>& controls, std::size_t ip_adapters) {
  // Those and, for inpainting, a mask and the latents of the picture that it leaves.
  const std::int64_t masked_channels = 2 * unet.out_channels + 1;
  check<CheckpointError>(
      unet.in_channels == unet.out_channels || unet.in_channels == masked_channels,
      "{}: the U-Net takes {} channels and predicts {}: only {} (latents alone) and {} (for "
      "inpainting) are supported",
      checkpoint.path().string(), unet.in_channels, unet.out_channels, unet.out_channels,
      masked_channels);
  ModelInfo info;
  info.latent_channels = static_cast<int>(unet.out_channels);
  info.inpainting = unet.in_channels == masked_channels;
  info.guidance_embedded = unet.guidance_width > 0;
  info.default_guidance_scale = checkpoint.number(
      "_guidance_scale", unet.pooled_width() > 0 ? 5 : info.default_guidance_scale);
  info.row_unit = static_cast<int>(unet.row_unit());
  info.has_vae = checkpoint.has("vae");
  if (info.has_vae) {
    ConfigReader vae = checkpoint.component("vae").config();
    info.scale = 1 << (read_vae_channels(vae).size() - 1);
  }
  info.controlnets = static_cast<int>(controls.size());
  info.ip_adapters = static_cast<int>(ip_adapters);
  for (const ControlNetFile& control : controls) {
    check<CheckpointError>(control.config.scale() == info.scale,
                           "{}: the ControlNet makes a latent row of {} pixels, the model's VAE of "
                           "{}: it is for another model",
                           control.component.place(), control.config.scale(), info.scale);
  }
  if (checkpoint.has("scheduler")) {
    ConfigReader scheduler = checkpoint.component("scheduler").config("scheduler_config.json");
    info.most_steps = static_cast<int>(std::clamp<std::int64_t>(
        scheduler.integer("num_train_timesteps", info.most_steps), 1, INT_MAX));
  }
  const auto side = [&](std::int64_t latent) {
    check<CheckpointError>(latent <= kMostSide,
                           "{}: the U-Net's sample_size is {}; at most {} is supported",
                           checkpoint.path().string(), latent, kMostSide);
    return static_cast<int>(latent > 0 ? latent : kDefaultSide) * info.scale;
  };
  const std::vector<ClipShape> text_encoders = text_encoders_of(checkpoint);
  info.text_encoders = static_cast<int>(text_encoders.size());
  info.most_clip_skip = most_clip_skip(text_encoders);
  info.default_width = side(unet.sample_columns);
  info.default_height = side(unet.sample_rows);
  return info;
}

void warn_of_class(const Checkpoint& checkpoint, bool is_xl, bool has_controls) {
  const std::string name = checkpoint.pipeline_class();
  const auto is_known = [&](std::string_view family) {
    return std::ranges::any_of(std::array{"", "Img2Img", "Inpaint"}, [&](const char* task) {
      return name == fmt::format("{}{}Pipeline", family, task) ||
             (has_controls && name == fmt::format("{}ControlNet{}Pipeline", family, task));
    });
  };
  for (const char* family : {"StableDiffusion", "StableDiffusionXL", "LatentConsistencyModel"}) {
    if (is_known(family)) return;
  }
  if (name.empty()) return;
  log().warn("{}: {} is not built in: {} draws, without what the other adds",
             checkpoint.path().string(), excerpt(name),
             is_xl ? "StableDiffusionXLPipeline" : "StableDiffusionPipeline");
}

ImageShape usual_images(const ModelInfo& model) {
  return {2, model.default_height / model.scale, model.default_width / model.scale};
}

int ModelInfo::most_patches(int height) const {
  if (height <= 0 || height > kMostPixels || height % scale != 0) return 0;
  return pcpp::most_patches(height / scale, row_unit);
}

PictureSize ModelInfo::picture_size(const GenerationRequest& request) const {
  PictureSize size{default_width, default_height};
  const Image* given = nullptr;
  if (!request.init_images.empty()) {
    given = &request.init_images.front();
  } else if (!request.controls.empty() && !request.controls.front().images.empty()) {
    given = &request.controls.front().images.front();
  }
  if (given != nullptr) {
    size = {std::max(given->width / scale, 1) * scale, std::max(given->height / scale, 1) * scale};
  }
  if (request.width != 0) size.width = request.width;
  if (request.height != 0) size.height = request.height;
  return size;
}

void ModelInfo::check(const GenerationRequest& request, int ranks) const {
  const RequestSizes sizes = check_request(request, *this);
  check_parts(request, *this);
  if (request.automatic) {
    check_automatic(request.parallel, ranks);
    return;
  }
  const ParallelConfig& parallel = request.parallel;
  const Topology topology(ranks, parallel.guidance, sizes.guided ? 2 : 1, sizes.rows, row_unit,
                          parallel.bands);
  check_settings(parallel, topology.patches());
}

ModelInfo read_model_info(const std::filesystem::path& model, const PipelineOptions& options) {
  return translated("the cpu", [&] {
    const Checkpoint checkpoint =
        Checkpoint::open(model, {.configs = options.configs, .vae = options.vae});
    const UNetConfig unet = read_unet_config(checkpoint.component("unet").config());
    return model_info(checkpoint, unet, open_control_nets(options.controlnets, std::nullopt, unet),
                      open_ip_adapters(options.ip_adapters, std::nullopt, unet).size());
  });
}

}  // namespace pcpp
