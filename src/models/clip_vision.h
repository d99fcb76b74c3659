// transformers' CLIPVisionModelWithProjection.
#ifndef PCPP_MODELS_CLIP_VISION_H_
#define PCPP_MODELS_CLIP_VISION_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <stop_token>

#include "io/config_reader.h"
#include "models/clip_layer.h"
#include "ops/weight_scope.h"

namespace pcpp {

struct ClipVisionConfig {
  ClipLayerOptions layer;
  std::int64_t layers = 0;
  std::int64_t image_size = 0;  // pixels, of each side
  std::int64_t patch_size = 0;  // likewise
  std::int64_t projection_width = 0;
};

// Reads a config.json whole. Throws CheckpointError naming the option that is not supported or is
// beyond its bounds.
ClipVisionConfig read_clip_vision_config(ConfigReader config);

// Immutable; thread-safe.
class ClipVision {
 public:
  // Takes all weights of the scope.
  ClipVision(const ClipVisionConfig& config, const WeightScope& weights);
  ~ClipVision();
  ClipVision(ClipVision&&) noexcept;
  ClipVision& operator=(ClipVision&&) noexcept;

  // pixels [n, 3, image_size, image_size], normalised; both throw Cancelled between two layers once
  // a stop is requested.

  // transformers' image_embeds: [n, projection_width].
  at::Tensor embed(const at::Tensor& pixels, const std::stop_token& stop = {}) const;
  // transformers' hidden_states[-2], what the last layer reads: [n, 1 + patches, width].
  at::Tensor penultimate(const at::Tensor& pixels, const std::stop_token& stop = {}) const;

 private:
  struct Parts;
  std::unique_ptr<Parts> parts_;
};

}  // namespace pcpp

#endif  // PCPP_MODELS_CLIP_VISION_H_
