// The blocks that the U-Net and the VAE share. Images are channels-last throughout, so
// that an image's pixels, row by row, are its tokens without a copy.
#ifndef PCPP_MODELS_LAYERS_H_
#define PCPP_MODELS_LAYERS_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>
#include <string>

#include "ops/conv2d.h"
#include "ops/group_norm.h"
#include "ops/linear.h"
#include "ops/patch_context.h"
#include "ops/site_registry.h"
#include "ops/weight_scope.h"

namespace pcpp {

// A channels-last [batch, channels, rows, columns] seen as [batch, rows * columns, channels].
at::Tensor as_tokens(const at::Tensor& image);
// The way back; tokens must be contiguous.
at::Tensor as_image(const at::Tensor& tokens, std::int64_t rows);
// Two channels-last images side by side in their channels; channels-last.
at::Tensor join_channels(const at::Tensor& first, const at::Tensor& second);

// What a network's GroupNorms share.
struct NormOptions {
  std::int64_t groups = 32;
  double epsilon = 1e-5;
};

// ResnetBlock2D: norm, SiLU, 3x3, (+ time), norm, SiLU, 3x3, added to the input or to its 1x1
// projection. Immutable.
class ResnetBlock {
 public:
  // `time_width` is the width of the time embedding; the VAE's blocks have none.
  ResnetBlock(const WeightScope& weights, std::int64_t in, std::int64_t out,
              std::optional<std::int64_t> time_width, NormOptions norm, int level,
              SiteRegistry& sites);

  // image [batch, in, rows, columns] -> [batch, out, rows, columns]. `time`: SiLU of the time
  // embedding, [batch or 1, time_width]; undefined without one.
  at::Tensor operator()(const at::Tensor& image, const at::Tensor& time,
                        PatchContext& context) const;

 private:
  std::string name_;
  GroupNorm norm1_;
  Conv3x3 conv1_;
  std::optional<Linear> time_projection_;
  at::Tensor
      offset_;  // of conv1's result, where neither it nor the time's projection adds its bias
  GroupNorm norm2_;
  Conv3x3 conv2_;
  std::optional<Linear> shortcut_;
};

// Upsample2D: nearest neighbours to twice the size, then 3x3. Immutable.
class Upsampler {
 public:
  // `level` is the one that it leads to.
  Upsampler(const WeightScope& weights, std::int64_t channels, int level, SiteRegistry& sites);

  // To `rows` and `columns`, each twice the image's or one less. Taking the nearest of n for 2n - 1
  // (diffusers, for sizes that are not halved evenly) is doubling and leaving out the last, so a
  // band may do it for itself: only the image's last band has a row to leave out.
  at::Tensor operator()(const at::Tensor& image, std::int64_t rows, std::int64_t columns,
                        PatchContext& context) const;

 private:
  Conv3x3 conv_;
};

}  // namespace pcpp

#endif  // PCPP_MODELS_LAYERS_H_
