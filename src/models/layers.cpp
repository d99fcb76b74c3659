#include "models/layers.h"

#include <ATen/ops/cat.h>
#include <ATen/ops/upsample_nearest2d.h>

#include "ops/span_log.h"

namespace pcpp {

at::Tensor as_tokens(const at::Tensor& image) {
  return image.permute({0, 2, 3, 1}).view({image.size(0), image.size(2) * image.size(3), -1});
}

at::Tensor as_image(const at::Tensor& tokens, std::int64_t rows) {
  return tokens.view({tokens.size(0), rows, tokens.size(1) / rows, tokens.size(2)})
      .permute({0, 3, 1, 2});
}

at::Tensor join_channels(const at::Tensor& first, const at::Tensor& second) {
  return at::cat({first.permute({0, 2, 3, 1}), second.permute({0, 2, 3, 1})}, 3)
      .permute({0, 3, 1, 2});
}

ResnetBlock::ResnetBlock(const WeightScope& weights, std::int64_t in, std::int64_t out,
                         std::optional<std::int64_t> time_width, NormOptions norm, int level,
                         SiteRegistry& sites)
    : name_(weights.path()),
      norm1_(weights.scope("norm1"), in, norm.groups, norm.epsilon, GroupNorm::Activation::silu,
             level, sites),
      conv1_(weights.scope("conv1"), in, out, 1, level, sites),
      norm2_(weights.scope("norm2"), out, norm.groups, norm.epsilon, GroupNorm::Activation::silu,
             level, sites),
      conv2_(weights.scope("conv2"), out, out, 1, level, sites) {
  const at::Tensor bias = conv1_.release_bias();
  if (time_width) {
    time_projection_.emplace(weights.scope("time_emb_proj"), *time_width, out);
    if (bias.defined()) time_projection_->add_to_bias(bias);
  } else if (bias.defined()) {
    offset_ = bias.unsqueeze(0);
  }
  if (in != out) {
    shortcut_.emplace(weights.scope("conv_shortcut"), in, out, Linear::Bias::yes,
                      Linear::Kind::convolution_1x1);
  }
}

at::Tensor ResnetBlock::operator()(const at::Tensor& image, const at::Tensor& time,
                                   PatchContext& context) const {
  const SpanScope scope(name_);
  const at::Tensor offset = time_projection_ ? (*time_projection_)(time) : offset_;
  const at::Tensor hidden = conv1_(norm1_(image, context, conv1_.padding(context)), context);
  const PaddedRows normal = norm2_(hidden, context, conv2_.padding(context), offset);
  if (!shortcut_) return conv2_.plus(image, Addend::kept, normal, context);
  const at::Tensor projected = as_image((*shortcut_)(as_tokens(image)), image.size(2));
  return conv2_.plus(projected, Addend::overwritten, normal, context);
}

Upsampler::Upsampler(const WeightScope& weights, std::int64_t channels, int level,
                     SiteRegistry& sites)
    : conv_(weights.scope("conv"), channels, channels, 1, level, sites) {}

at::Tensor Upsampler::operator()(const at::Tensor& image, std::int64_t rows, std::int64_t columns,
                                 PatchContext& context) const {
  return conv_(at::upsample_nearest2d(image, {rows, columns}), context);
}

}  // namespace pcpp
