// What CLIP's text and vision models have in common: their transformers' layers.
#ifndef PCPP_MODELS_CLIP_LAYER_H_
#define PCPP_MODELS_CLIP_LAYER_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string_view>
#include <vector>

#include "io/config_reader.h"
#include "ops/linear.h"
#include "ops/weight_scope.h"

namespace pcpp {

struct ClipLayerOptions {
  std::int64_t width = 0;
  std::int64_t feed_forward_width = 0;
  std::int64_t heads = 0;
  double norm_epsilon = 1e-5;
  bool quick_gelu = true;
};

// What a config.json says of its layers but their number, by these where it says nothing, and of
// what does not matter here: of training, of how transformers return what they compute. Throws
// CheckpointError.
ClipLayerOptions read_clip_layer(ConfigReader& config, const ClipLayerOptions& absent);

// Throws CheckpointError for a value, with its key, that is not in [1, most].
void check_clip_extent(const ConfigReader& config, std::string_view key, std::int64_t value,
                       std::int64_t most);

// softmax(q k^T / sqrt(size)) v of each head, for [batch, tokens, heads * size] each: to the same,
// as the queries. `is_causal`: every token sees itself and those before it.
at::Tensor attend_by_head(const at::Tensor& query, const at::Tensor& key, const at::Tensor& value,
                          std::int64_t heads, bool is_causal);

// CLIPEncoderLayer. Immutable.
class ClipLayer {
 public:
  ClipLayer(const WeightScope& weights, const ClipLayerOptions& options, bool is_causal);

  // [batch, tokens, width] to the same.
  at::Tensor operator()(const at::Tensor& tokens) const;

 private:
  LayerNorm norm1_;
  Linear query_;
  Linear key_;
  Linear value_;
  Linear out_;
  LayerNorm norm2_;
  Linear expand_;
  Linear contract_;
  std::int64_t heads_;
  bool quick_gelu_;
  bool is_causal_;
};

// Those of a model's scope.
std::vector<ClipLayer> make_clip_layers(const WeightScope& model, const ClipLayerOptions& options,
                                        std::int64_t count, bool is_causal);

}  // namespace pcpp

#endif  // PCPP_MODELS_CLIP_LAYER_H_
