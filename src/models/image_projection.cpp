#include "models/image_projection.h"

#include <ATen/ops/cat.h>
#include <ATen/ops/gelu.h>
#include <fmt/format.h>

#include <algorithm>
#include <utility>
#include <variant>
#include <vector>

#include "base/check.h"
#include "io/ip_adapter_file.h"
#include "models/clip_layer.h"
#include "ops/linear.h"

namespace pcpp {
namespace {

constexpr double kNormEpsilon = 1e-5;  // fixed in diffusers
constexpr std::int64_t kHeadWidth = 64;
constexpr std::int64_t kMostLayers = 64;
constexpr std::int64_t kMostTokens = 1024;  // of a picture

using Tensors = std::map<std::string, TensorView>;
using Shape = std::vector<std::int64_t>;

// Of a tensor that says how large a network is.
Shape shape_of(const Tensors& weights, const std::string& name, std::size_t dimensions,
               const std::string& source) {
  const std::string full = fmt::format("{}.{}", kImageProjection, name);
  const auto found = weights.find(full);
  check<CheckpointError>(found != weights.end(),
                         "{}: the tensor {} is missing: the IP-Adapter is damaged, or of a kind "
                         "that is not supported",
                         source, full);
  const Shape& shape = found->second.shape;
  check<CheckpointError>(
      shape.size() == dimensions &&
          std::ranges::all_of(shape, [](auto extent) { return extent > 0; }),
      "{}: the tensor {} has shape {}, where {} dimensions are needed, none of them 0: the "
      "IP-Adapter is damaged, or of a kind that is not supported",
      source, full, to_string(shape), dimensions);
  return shape;
}

// How many times `unit` the tensor has rows.
std::int64_t multiple_of(std::int64_t unit, std::int64_t rows, const char* name,
                         const std::string& source) {
  check<CheckpointError>(rows % unit == 0,
                         "{}: the tensor {}.{} has {} rows, which must be a multiple of {}: the "
                         "IP-Adapter is damaged, or of a kind that is not supported",
                         source, kImageProjection, name, rows, unit);
  return rows / unit;
}

ImageProjectionConfig resampling_config_of(const Tensors& weights, const std::string& source) {
  const auto shape = [&](const std::string& name, std::size_t dimensions) {
    return shape_of(weights, name, dimensions, source);
  };
  const Shape latents = shape("latents", 3);
  ResamplerConfig resampler;
  resampler.width = latents[2];
  const char* const query = "layers.0.0.to_q.weight";
  resampler.heads = multiple_of(kHeadWidth, shape(query, 2)[0], query, source);
  resampler.feed_forward_width = shape("layers.0.1.1.weight", 2)[0];
  while (weights.contains(
      fmt::format("{}.layers.{}.0.to_q.weight", kImageProjection, resampler.layers))) {
    ++resampler.layers;
    check<CheckpointError>(resampler.layers <= kMostLayers,
                           "{}: the IP-Adapter's resampler has more than {} layers: it is damaged",
                           source, kMostLayers);
  }
  return {.encoder_width = shape("proj_in.weight", 2)[1],
          .text_width = shape("proj_out.weight", 2)[0],
          .tokens = latents[1],
          .resampler = resampler};
}

ImageProjectionConfig vector_config_of(const Tensors& weights, const std::string& source) {
  const Shape projection = shape_of(weights, "proj.weight", 2, source);
  const std::int64_t text_width = shape_of(weights, "norm.weight", 1, source)[0];
  return {.encoder_width = projection[1],
          .text_width = text_width,
          .tokens = multiple_of(text_width, projection[0], "proj.weight", source)};
}

// Of the picture's one vector.
class VectorProjection {
 public:
  VectorProjection(const ImageProjectionConfig& config, const WeightScope& weights)
      : tokens_(config.tokens),
        project_(weights.scope("proj"), config.encoder_width, config.tokens * config.text_width),
        norm_(weights.scope("norm"), config.text_width, kNormEpsilon) {}

  at::Tensor operator()(const at::Tensor& seen, const std::stop_token& /*stop*/) const {
    return norm_(project_(seen).unflatten(1, {tokens_, -1}));
  }

 private:
  std::int64_t tokens_;
  Linear project_;
  LayerNorm norm_;
};

class ResamplerLayer {
 public:
  ResamplerLayer(const ResamplerConfig& config, const WeightScope& weights)
      : ResamplerLayer(config, weights.scope(0), weights.scope(1)) {}

  // What has been seen [n, m, width], and latents [n, tokens, width], to the latter.
  at::Tensor operator()(const at::Tensor& seen, const at::Tensor& latents) const {
    const at::Tensor normal = norm_latents_(latents);
    const at::Tensor all = at::cat({norm_seen_(seen), normal}, 1);
    const std::vector<at::Tensor> keys_and_values = key_value_(all).chunk(2, 2);
    const at::Tensor attended =
        attend_by_head(query_(normal), keys_and_values[0], keys_and_values[1], heads_, false);
    const at::Tensor hidden = out_(attended).add_(latents);
    return contract_(at::gelu(expand_(norm_hidden_(hidden)))).add_(hidden);
  }

 private:
  ResamplerLayer(const ResamplerConfig& config, const WeightScope& attention,
                 const WeightScope& feed_forward)
      : heads_(config.heads),
        norm_seen_(attention.scope("norm1"), config.width, kNormEpsilon),
        norm_latents_(attention.scope("norm2"), config.width, kNormEpsilon),
        query_(attention.scope("to_q"), config.width, kHeadWidth * heads_, Linear::Bias::no),
        key_value_(attention.scope("to_kv"), config.width, 2 * kHeadWidth * heads_,
                   Linear::Bias::no),
        out_(attention.scope("to_out"), kHeadWidth * heads_, config.width, Linear::Bias::no),
        norm_hidden_(feed_forward.scope(0), config.width, kNormEpsilon),
        expand_(feed_forward.scope(1), config.width, config.feed_forward_width, Linear::Bias::no),
        contract_(feed_forward.scope(3), config.feed_forward_width, config.width,
                  Linear::Bias::no) {}

  std::int64_t heads_;
  LayerNorm norm_seen_;
  LayerNorm norm_latents_;
  Linear query_;
  Linear key_value_;
  Linear out_;
  LayerNorm norm_hidden_;
  Linear expand_;
  Linear contract_;
};

class Resampler {
 public:
  Resampler(const ImageProjectionConfig& config, const WeightScope& weights)
      : latents_(weights.take("latents", {1, config.tokens, config.resampler->width})),
        project_in_(weights.scope("proj_in"), config.encoder_width, config.resampler->width),
        project_out_(weights.scope("proj_out"), config.resampler->width, config.text_width),
        norm_(weights.scope("norm_out"), config.text_width, kNormEpsilon) {
    for (std::int64_t i = 0; i < config.resampler->layers; ++i) {
      layers_.emplace_back(*config.resampler, weights.scope("layers").scope(i));
    }
  }

  at::Tensor operator()(const at::Tensor& seen, const std::stop_token& stop) const {
    const at::Tensor projected = project_in_(seen);
    at::Tensor latents = latents_.expand({seen.size(0), -1, -1});
    for (const ResamplerLayer& layer : layers_) {
      check_not_stopped(stop);
      latents = layer(projected, latents);
    }
    return norm_(project_out_(latents));
  }

 private:
  at::Tensor latents_;
  Linear project_in_;
  std::vector<ResamplerLayer> layers_;
  Linear project_out_;
  LayerNorm norm_;
};

using Network = std::variant<VectorProjection, Resampler>;

Network make_network(const ImageProjectionConfig& config, const WeightScope& weights) {
  if (config.resampler) return Resampler(config, weights);
  return VectorProjection(config, weights);
}

}  // namespace

ImageProjectionConfig image_projection_config_of(const Tensors& weights,
                                                 const std::string& source) {
  const bool resamples = weights.contains(fmt::format("{}.latents", kImageProjection));
  const ImageProjectionConfig config =
      resamples ? resampling_config_of(weights, source) : vector_config_of(weights, source);
  check<CheckpointError>(config.tokens <= kMostTokens,
                         "{}: the IP-Adapter makes {} tokens of a picture, and at most {} are "
                         "supported: it is damaged, or of another kind",
                         source, config.tokens, kMostTokens);
  return config;
}

struct ImageProjection::Parts {
  Parts(const ImageProjectionConfig& config, const WeightScope& weights)
      : network(make_network(config, weights)) {
    weights.finish();
  }

  Network network;
};

ImageProjection::ImageProjection(const ImageProjectionConfig& config, const WeightScope& weights)
    : parts_(std::make_unique<Parts>(config, weights)) {}
ImageProjection::~ImageProjection() = default;
ImageProjection::ImageProjection(ImageProjection&&) noexcept = default;
ImageProjection& ImageProjection::operator=(ImageProjection&&) noexcept = default;

at::Tensor ImageProjection::operator()(const at::Tensor& seen, const std::stop_token& stop) const {
  return std::visit([&](const auto& network) { return network(seen, stop); }, parts_->network);
}

}  // namespace pcpp
