#include "models/transformer.h"

#include "models/layers.h"
#include "ops/span_log.h"

namespace pcpp {
namespace {

// Fixed in diffusers, whatever the config's norm_eps says.
constexpr double kLayerNormEpsilon = 1e-5;
constexpr double kGroupNormEpsilon = 1e-6;

Linear projection(const WeightScope& weights, const TransformerOptions& options) {
  return Linear(weights, options.channels, options.channels, Linear::Bias::yes,
                options.linear_projection ? Linear::Kind::linear : Linear::Kind::convolution_1x1);
}

}  // namespace

TransformerBlock::TransformerBlock(const WeightScope& weights, std::int64_t width,
                                   std::int64_t text_width, std::int64_t heads, int level,
                                   SiteRegistry& sites)
    : name_(weights.path()),
      norm1_(weights.scope("norm1"), width, kLayerNormEpsilon),
      self_attention_(weights.scope("attn1"), width, heads, level, sites),
      norm2_(weights.scope("norm2"), width, kLayerNormEpsilon),
      cross_attention_(weights.scope("attn2"), width, text_width, heads, sites),
      norm3_(weights.scope("norm3"), width, kLayerNormEpsilon),
      expand_(weights.scope("ff").scope("net").scope(0).scope("proj"), width, 4 * width),
      contract_(weights.scope("ff").scope("net").scope(2), 4 * width, width) {}

at::Tensor TransformerBlock::operator()(const at::Tensor& tokens, const at::Tensor& addend,
                                        const PromptTokens& prompt, PatchContext& context) const {
  const SpanScope scope(name_);
  const at::Tensor normal = addend.defined() ? norm1_.of_sum(tokens, addend) : norm1_(tokens);
  at::Tensor attended = self_attention_(normal, context);
  attended = cross_attention_(norm2_.of_sum(tokens, attended), prompt, context);
  return contract_(expand_(norm3_.of_sum(tokens, attended)));
}

Transformer::Transformer(const WeightScope& weights, const TransformerOptions& options, int level,
                         SiteRegistry& sites)
    : name_(weights.path()),
      norm_(weights.scope("norm"), options.channels, options.norm_groups, kGroupNormEpsilon,
            GroupNorm::Activation::none, level, sites),
      project_in_(projection(weights.scope("proj_in"), options)),
      project_out_(projection(weights.scope("proj_out"), options)) {
  for (std::int64_t i = 0; i < options.layers; ++i) {
    blocks_.emplace_back(weights.scope("transformer_blocks").scope(i), options.channels,
                         options.text_width, options.heads, level, sites);
  }
}

at::Tensor Transformer::operator()(const at::Tensor& image, const PromptTokens& prompt,
                                   PatchContext& context) const {
  const SpanScope scope(name_);
  at::Tensor tokens = project_in_(as_tokens(norm_(image, context)));
  at::Tensor addend;
  for (const TransformerBlock& block : blocks_) addend = block(tokens, addend, prompt, context);
  if (addend.defined()) tokens.add_(addend);
  return as_image(project_out_(tokens), image.size(2)).add_(image);
}

}  // namespace pcpp
