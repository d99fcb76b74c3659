// The U-Net's transformers over an image's tokens.
#ifndef PCPP_MODELS_TRANSFORMER_H_
#define PCPP_MODELS_TRANSFORMER_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <vector>

#include "ops/attention.h"
#include "ops/group_norm.h"
#include "ops/linear.h"
#include "ops/patch_context.h"
#include "ops/site_registry.h"
#include "ops/weight_scope.h"

namespace pcpp {

// BasicTransformerBlock: self-attention, cross-attention and a GEGLU feed-forward, each after a
// LayerNorm and added to its input. The sums are left to the LayerNorms that follow, which read
// them anyway. Immutable.
class TransformerBlock {
 public:
  TransformerBlock(const WeightScope& weights, std::int64_t width, std::int64_t text_width,
                   std::int64_t heads, int level, SiteRegistry& sites);
  // Its input is `tokens` + `addend` [batch, n, width] (undefined: nothing is added), and its
  // result what then is in `tokens` plus what is returned.
  at::Tensor operator()(const at::Tensor& tokens, const at::Tensor& addend,
                        const PromptTokens& prompt, PatchContext& context) const;

 private:
  std::string name_;
  LayerNorm norm1_;
  SelfAttention self_attention_;
  LayerNorm norm2_;
  CrossAttention cross_attention_;
  LayerNorm norm3_;
  Geglu expand_;
  Linear contract_;
};

struct TransformerOptions {
  std::int64_t channels = 0;
  std::int64_t heads = 0;
  std::int64_t text_width = 0;
  std::int64_t layers = 1;
  std::int64_t norm_groups = 32;
  bool linear_projection = false;  // how its two projections are stored
};

// Transformer2DModel: GroupNorm, projection, blocks, projection, added to the image. Immutable.
class Transformer {
 public:
  Transformer(const WeightScope& weights, const TransformerOptions& options, int level,
              SiteRegistry& sites);
  // image [batch, channels, rows, columns], to the same.
  at::Tensor operator()(const at::Tensor& image, const PromptTokens& prompt,
                        PatchContext& context) const;

 private:
  std::string name_;
  GroupNorm norm_;
  Linear project_in_;
  std::vector<TransformerBlock> blocks_;
  Linear project_out_;
};

}  // namespace pcpp

#endif  // PCPP_MODELS_TRANSFORMER_H_
