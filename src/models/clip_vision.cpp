#include "models/clip_vision.h"

#include <ATen/ops/cat.h>
#include <ATen/ops/conv2d.h>
#include <fmt/format.h>

#include <stdexcept>
#include <string>
#include <vector>

#include "base/check.h"
#include "ops/linear.h"

namespace pcpp {
namespace {

// transformers put all but the projection under one more name, or may not, as of text encoders.
WeightScope vision_scope(const WeightScope& weights) {
  const WeightScope nested = weights.scope("vision_model");
  return nested.has("embeddings.class_embedding") ? nested : weights;
}

std::int64_t patches_a_side(const ClipVisionConfig& config) {
  return config.image_size / config.patch_size;
}

}  // namespace

ClipVisionConfig read_clip_vision_config(ConfigReader config) {
  constexpr std::int64_t kMostLayers = 256;
  constexpr std::int64_t kMostPixelsOfSide = 1024;
  constexpr std::int64_t kMostPatches = 64;  // a side
  constexpr std::int64_t kMostWidth = 65536;
  config.require_equal("model_type", "clip_vision_model", "clip_vision_model");
  const std::vector<std::string> names =
      config.texts("architectures", {"CLIPVisionModelWithProjection"});
  if (names != std::vector<std::string>{"CLIPVisionModelWithProjection"}) {
    config.refuse("architectures", R"(only ["CLIPVisionModelWithProjection"] is supported)");
  }
  ClipVisionConfig read;
  read.layer = read_clip_layer(config, {.width = 768, .feed_forward_width = 3072, .heads = 12});
  read.layers = config.integer("num_hidden_layers", 12);
  read.image_size = config.integer("image_size", 224);
  read.patch_size = config.integer("patch_size", 32);
  read.projection_width = config.integer("projection_dim", 512);
  config.require_equal("num_channels", 3, 3);
  check_clip_extent(config, "hidden_size", read.layer.width, kMostWidth);
  check_clip_extent(config, "intermediate_size", read.layer.feed_forward_width, kMostWidth);
  check_clip_extent(config, "num_hidden_layers", read.layers, kMostLayers);
  check_clip_extent(config, "image_size", read.image_size, kMostPixelsOfSide);
  check_clip_extent(config, "patch_size", read.patch_size, read.image_size);
  check_clip_extent(config, "projection_dim", read.projection_width, kMostWidth);
  if (patches_a_side(read) > kMostPatches) {
    config.refuse("patch_size", fmt::format("an image of {} pixels would be of more than {} "
                                            "patches a side, which is not supported",
                                            read.image_size, kMostPatches));
  }
  config.finish();
  return read;
}

struct ClipVision::Parts {
  Parts(const ClipVisionConfig& read, const WeightScope& weights, const WeightScope& vision)
      : config(read),
        class_embedding(vision.take("embeddings.class_embedding", {width()})),
        patch_embedding(vision.take("embeddings.patch_embedding.weight",
                                    {width(), 3, config.patch_size, config.patch_size})),
        position_embedding(
            vision.take("embeddings.position_embedding.weight",
                        {1 + patches_a_side(config) * patches_a_side(config), width()})),
        first_norm(vision.scope("pre_layrnorm"), width(), config.layer.norm_epsilon),  // its name
        layers(make_clip_layers(vision, config.layer, config.layers, /*is_causal=*/false)),
        last_norm(vision.scope("post_layernorm"), width(), config.layer.norm_epsilon),
        projection(weights.scope("visual_projection"), width(), config.projection_width,
                   Linear::Bias::no) {
    vision.ignore("embeddings.position_ids");
    weights.finish();
  }

  std::int64_t width() const { return config.layer.width; }

  // What layer `count` reads.
  at::Tensor hidden_state(const at::Tensor& pixels, std::size_t count,
                          const std::stop_token& stop) const {
    check<std::logic_error>(pixels.dim() == 4 && pixels.size(1) == 3 &&
                                pixels.size(2) == config.image_size &&
                                pixels.size(3) == config.image_size,
                            "an image encoder of {} pixels was given {}x{}", config.image_size,
                            pixels.size(-1), pixels.size(-2));
    const at::Tensor patches = at::conv2d(pixels.to(patch_embedding.scalar_type()), patch_embedding,
                                          {}, at::IntArrayRef{config.patch_size, config.patch_size})
                                   .flatten(2)
                                   .transpose(1, 2);  // [n, patches, width]
    const at::Tensor first = class_embedding.expand({pixels.size(0), 1, width()});
    at::Tensor hidden = first_norm(at::cat({first, patches}, 1).add_(position_embedding));
    for (std::size_t i = 0; i < count; ++i) {
      check_not_stopped(stop);
      hidden = layers[i](hidden);
    }
    return hidden;
  }

  ClipVisionConfig config;
  at::Tensor class_embedding;
  at::Tensor patch_embedding;
  at::Tensor position_embedding;
  LayerNorm first_norm;
  std::vector<ClipLayer> layers;
  LayerNorm last_norm;
  Linear projection;
};

ClipVision::ClipVision(const ClipVisionConfig& config, const WeightScope& weights)
    : parts_(std::make_unique<Parts>(config, weights, vision_scope(weights))) {}
ClipVision::~ClipVision() = default;
ClipVision::ClipVision(ClipVision&&) noexcept = default;
ClipVision& ClipVision::operator=(ClipVision&&) noexcept = default;

at::Tensor ClipVision::embed(const at::Tensor& pixels, const std::stop_token& stop) const {
  const at::Tensor last = parts_->hidden_state(pixels, parts_->layers.size(), stop);
  return parts_->projection(parts_->last_norm(last.select(1, 0)));
}

at::Tensor ClipVision::penultimate(const at::Tensor& pixels, const std::stop_token& stop) const {
  return parts_->hidden_state(pixels, parts_->layers.size() - 1, stop);
}

}  // namespace pcpp
