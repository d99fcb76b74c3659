#include "models/clip_text.h"

#include <ATen/ops/arange.h>
#include <ATen/ops/argmax.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/embedding.h>
#include <ATen/ops/eq.h>
#include <ATen/ops/ge.h>

#include <optional>
#include <string>
#include <utility>

#include "base/check.h"
#include "models/clip_layer.h"
#include "ops/linear.h"

namespace pcpp {
namespace {

struct ClipOptions : ClipShape {
  ClipLayerOptions layer = {};  // of its width
  std::int64_t vocabulary = 0;
  std::int64_t end_id = 0;
  std::int64_t projection_width = 0;
  std::optional<bool> projection = {};  // absent: the weights say
};

// Whether the class that the config names has a projection after it.
std::optional<bool> projection_of(ConfigReader& config) {
  if (config.value("architectures").is_null()) return std::nullopt;
  const std::vector<std::string> names = config.texts("architectures", {});
  if (names.empty()) return std::nullopt;
  if (names.size() == 1 && names[0] == "CLIPTextModel") return false;
  if (names.size() == 1 && names[0] == "CLIPTextModelWithProjection") return true;
  config.refuse("architectures",
                R"(only ["CLIPTextModel"] and ["CLIPTextModelWithProjection"] are supported)");
}

ClipOptions read_options(ConfigReader& config) {
  config.require_equal("model_type", "clip_text_model", "clip_text_model");
  ClipOptions options{read_clip_shape(config)};
  options.layer =
      read_clip_layer(config, {.width = options.width, .feed_forward_width = 2048, .heads = 8});
  options.projection = projection_of(config);
  options.vocabulary = config.integer("vocab_size", 49408);
  options.end_id = config.integer("eos_token_id", 49407);
  options.projection_width = config.integer("projection_dim", 512);
  for (const auto& [key, value] : {std::pair{"vocab_size", options.vocabulary},
                                   {"projection_dim", options.projection_width}}) {
    if (value < 1) config.refuse(key, "it must be at least 1");
  }
  // Of their generating texts.
  config.ignore({"bos_token_id", "pad_token_id"});
  config.finish();
  return options;
}

// Before release 5, transformers put all but the projection under one more name.
WeightScope text_scope(const WeightScope& weights) {
  const WeightScope nested = weights.scope("text_model");
  return nested.has("embeddings.token_embedding.weight") ? nested : weights;
}

}  // namespace

ClipShape read_clip_shape(ConfigReader& config) {
  constexpr std::int64_t kMostLayers = 256;
  constexpr std::int64_t kMostTokens = 1024;
  const ClipShape shape{.width = config.integer("hidden_size", 512),
                        .layers = config.integer("num_hidden_layers", 12),
                        .max_tokens = config.integer("max_position_embeddings", 77)};
  check_clip_extent(config, "num_hidden_layers", shape.layers, kMostLayers);
  check_clip_extent(config, "max_position_embeddings", shape.max_tokens, kMostTokens);
  return shape;
}

struct ClipText::Parts {
  Parts(const ClipOptions& read, const WeightScope& weights, const WeightScope& text,
        const at::Tensor& added)
      : options(read),
        token_embedding(
            text.take("embeddings.token_embedding.weight", {options.vocabulary, options.width})),
        position_embedding(
            text.take("embeddings.position_embedding.weight", {options.max_tokens, options.width})),
        layers(make_clip_layers(text, options.layer, options.layers, /*is_causal=*/true)),
        final_norm(text.scope("final_layer_norm"), options.width, options.layer.norm_epsilon) {
    if (options.projection.value_or(weights.has("text_projection.weight"))) {
      projection.emplace(weights.scope("text_projection"), options.width, options.projection_width,
                         Linear::Bias::no);
    }
    if (added.defined()) token_embedding = at::cat({token_embedding, added.to(token_embedding)});
    text.ignore("embeddings.position_ids");
    weights.ignore("text_projection.weight");
    weights.finish();
  }

  // [batch], the place of each text's end.
  at::Tensor end_places(const at::Tensor& ids) const {
    // Configs of old name 2 for the end; transformers then takes the greatest id, which it is but
    // for those of added tokens.
    constexpr std::int64_t kOldEndId = 2;
    if (options.end_id == kOldEndId)
      return at::argmax(ids.masked_fill(at::ge(ids, options.vocabulary), 0), 1);
    return at::argmax(at::eq(ids, options.end_id).to(at::kInt), 1);  // the first one
  }

  ClipOptions options;
  at::Tensor token_embedding;
  at::Tensor position_embedding;
  std::vector<ClipLayer> layers;
  LayerNorm final_norm;
  std::optional<Linear> projection;
};

ClipText::ClipText(ConfigReader config, const WeightScope& weights, const at::Tensor& added)
    : parts_(std::make_unique<Parts>(read_options(config), weights, text_scope(weights), added)) {}
ClipText::~ClipText() = default;
ClipText::ClipText(ClipText&&) noexcept = default;
ClipText& ClipText::operator=(ClipText&&) noexcept = default;

ClipText::Output ClipText::operator()(const at::Tensor& ids, const std::stop_token& stop) const {
  check<ConfigError>(ids.dim() == 2 && ids.size(1) >= 1 && ids.size(1) <= max_tokens(),
                     "the text encoder takes between 1 and {} tokens a text, not {}", max_tokens(),
                     ids.size(-1));
  Output output;
  at::Tensor hidden = at::embedding(parts_->token_embedding, ids)
                          .add_(parts_->position_embedding.narrow(0, 0, ids.size(1)));
  output.hidden_states.push_back(hidden);
  for (const ClipLayer& layer : parts_->layers) {
    check_not_stopped(stop);
    hidden = layer(hidden);
    output.hidden_states.push_back(hidden);
  }
  output.last_hidden_state = normalised(hidden);
  output.pooled = output.last_hidden_state.index(
      {at::arange(ids.size(0), ids.options()), parts_->end_places(ids)});
  if (parts_->projection) output.pooled = (*parts_->projection)(output.pooled);
  return output;
}

at::Tensor ClipText::normalised(const at::Tensor& hidden_state) const {
  return parts_->final_norm(hidden_state);
}

std::int64_t ClipText::width() const { return parts_->options.width; }

std::int64_t ClipText::max_tokens() const { return parts_->options.max_tokens; }

std::int64_t ClipText::vocabulary_size() const { return parts_->options.vocabulary; }

std::int64_t ClipText::pooled_width() const {
  return parts_->projection ? parts_->options.projection_width : width();
}

}  // namespace pcpp
