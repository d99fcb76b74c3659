#include "models/clip_layer.h"

#include <ATen/ops/gelu.h>
#include <ATen/ops/scaled_dot_product_attention.h>
#include <ATen/ops/sigmoid.h>
#include <fmt/format.h>

#include <optional>
#include <utility>

namespace pcpp {

ClipLayerOptions read_clip_layer(ConfigReader& config, const ClipLayerOptions& absent) {
  ClipLayerOptions options;
  options.width = config.integer("hidden_size", absent.width);
  options.feed_forward_width = config.integer("intermediate_size", absent.feed_forward_width);
  options.heads = config.integer("num_attention_heads", absent.heads);
  options.norm_epsilon = config.number("layer_norm_eps", absent.norm_epsilon);
  options.quick_gelu =
      config.one_of("hidden_act", {"quick_gelu", "gelu"}, "quick_gelu") == "quick_gelu";
  for (const auto& [key, value] : {std::pair{"hidden_size", options.width},
                                   {"intermediate_size", options.feed_forward_width},
                                   {"num_attention_heads", options.heads}}) {
    if (value < 1) config.refuse(key, "it must be at least 1");
  }
  if (options.width % options.heads != 0) {
    config.refuse("hidden_size", "it must be a multiple of num_attention_heads");
  }
  if (!(options.norm_epsilon > 0)) config.refuse("layer_norm_eps", "it must be positive");
  config.ignore({"attention_dropout",
                 "dropout",
                 "initializer_factor",
                 "initializer_range",
                 "torch_dtype",
                 "dtype",
                 "transformers_version",
                 "gradient_checkpointing",
                 "return_dict",
                 "output_hidden_states",
                 "output_attentions",
                 "use_cache",
                 "id2label",
                 "label2id",
                 "tie_word_embeddings",
                 "use_bfloat16",
                 "torchscript",
                 "chunk_size_feed_forward",
                 "is_decoder",
                 "is_encoder_decoder",
                 "problem_type"});
  return options;
}

void check_clip_extent(const ConfigReader& config, std::string_view key, std::int64_t value,
                       std::int64_t most) {
  if (value < 1 || value > most) {
    config.refuse(key, fmt::format("it must lie between 1 and {}", most));
  }
}

at::Tensor attend_by_head(const at::Tensor& query, const at::Tensor& key, const at::Tensor& value,
                          std::int64_t heads, bool is_causal) {
  const auto by_head = [&](const at::Tensor& rows) {
    return rows.unflatten(2, {heads, -1}).transpose(1, 2);  // [batch, heads, tokens, size]
  };
  return at::scaled_dot_product_attention(by_head(query), by_head(key), by_head(value),
                                          std::nullopt, 0.0, is_causal)
      .transpose(1, 2)
      .flatten(2);
}

ClipLayer::ClipLayer(const WeightScope& weights, const ClipLayerOptions& options, bool is_causal)
    : norm1_(weights.scope("layer_norm1"), options.width, options.norm_epsilon),
      query_(weights.scope("self_attn").scope("q_proj"), options.width, options.width),
      key_(weights.scope("self_attn").scope("k_proj"), options.width, options.width),
      value_(weights.scope("self_attn").scope("v_proj"), options.width, options.width),
      out_(weights.scope("self_attn").scope("out_proj"), options.width, options.width),
      norm2_(weights.scope("layer_norm2"), options.width, options.norm_epsilon),
      expand_(weights.scope("mlp").scope("fc1"), options.width, options.feed_forward_width),
      contract_(weights.scope("mlp").scope("fc2"), options.feed_forward_width, options.width),
      heads_(options.heads),
      quick_gelu_(options.quick_gelu),
      is_causal_(is_causal) {}

at::Tensor ClipLayer::operator()(const at::Tensor& tokens) const {
  const at::Tensor normal = norm1_(tokens);
  const at::Tensor attended =
      attend_by_head(query_(normal), key_(normal), value_(normal), heads_, is_causal_);
  const at::Tensor hidden = out_(attended).add_(tokens);
  at::Tensor expanded = expand_(norm2_(hidden));
  expanded = quick_gelu_ ? at::sigmoid(expanded.mul(1.702)).mul_(expanded) : at::gelu(expanded);
  return contract_(expanded).add_(hidden);
}

std::vector<ClipLayer> make_clip_layers(const WeightScope& model, const ClipLayerOptions& options,
                                        std::int64_t count, bool is_causal) {
  std::vector<ClipLayer> layers;
  for (std::int64_t i = 0; i < count; ++i) {
    layers.emplace_back(model.scope("encoder").scope("layers").scope(i), options, is_causal);
  }
  return layers;
}

}  // namespace pcpp
