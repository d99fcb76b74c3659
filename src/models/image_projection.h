// What makes an IP-Adapter's tokens of what an image encoder sees: diffusers' ImageProjection and
// IPAdapterPlusImageProjection.
#ifndef PCPP_MODELS_IMAGE_PROJECTION_H_
#define PCPP_MODELS_IMAGE_PROJECTION_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>

#include "io/safetensors.h"
#include "ops/weight_scope.h"

namespace pcpp {

// Of the "plus" form: a Perceiver resampler (arXiv 2204.14198).
struct ResamplerConfig {
  std::int64_t width = 0;
  std::int64_t heads = 0;
  std::int64_t feed_forward_width = 0;
  std::int64_t layers = 0;
};

struct ImageProjectionConfig {
  std::int64_t encoder_width = 0;  // of what it reads
  std::int64_t text_width = 0;     // of the tokens that it makes
  std::int64_t tokens = 0;         // of a picture
  // Absent: it reads the encoder's one vector of a picture, else all of its penultimate layer.
  std::optional<ResamplerConfig> resampler = std::nullopt;
};

// By the names and shapes of an adapter's weights, not all of which are judged. Throws
// CheckpointError, naming `source` and the tensor.
ImageProjectionConfig image_projection_config_of(const std::map<std::string, TensorView>& weights,
                                                 const std::string& source);

// Immutable; thread-safe.
class ImageProjection {
 public:
  // Takes all weights of the scope.
  ImageProjection(const ImageProjectionConfig& config, const WeightScope& weights);
  ~ImageProjection();
  ImageProjection(ImageProjection&&) noexcept;
  ImageProjection& operator=(ImageProjection&&) noexcept;

  // [n, encoder_width], or [n, m, encoder_width] for a resampler, to [n, tokens, text_width].
  // Throws Cancelled between two layers once a stop is requested.
  at::Tensor operator()(const at::Tensor& seen, const std::stop_token& stop = {}) const;

 private:
  struct Parts;
  std::unique_ptr<Parts> parts_;
};

}  // namespace pcpp

#endif  // PCPP_MODELS_IMAGE_PROJECTION_H_
