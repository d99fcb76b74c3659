// The three kinds of blocks that a U-Net is made of.
#ifndef PCPP_MODELS_UNET_BLOCKS_H_
#define PCPP_MODELS_UNET_BLOCKS_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "models/layers.h"
#include "models/transformer.h"
#include "models/unet_config.h"
#include "ops/conv2d.h"
#include "ops/patch_context.h"
#include "ops/site_registry.h"
#include "ops/weight_scope.h"

namespace pcpp {

// What every block of one step is given besides the image.
struct UNetConditions {
  at::Tensor time;  // SiLU of the time embedding: [batch or 1, time width]
  PromptTokens prompt;
};

// A ResNet block and, where the block attends, a transformer after it.
struct UNetLayer {
  ResnetBlock resnet;
  std::optional<Transformer> transformer;

  at::Tensor operator()(const at::Tensor& image, const UNetConditions& conditions,
                        PatchContext& context) const;
};

// DownBlock2D and CrossAttnDownBlock2D. Immutable, as are the other two.
class DownBlock {
 public:
  // `level` counts from the latent's own resolution; all but the last one halve the image.
  DownBlock(const WeightScope& weights, const UNetConfig& config, int level, SiteRegistry& sites);
  // Appends every layer's output, and the halved image, to `skips`.
  at::Tensor operator()(at::Tensor image, const UNetConditions& conditions,
                        std::vector<at::Tensor>& skips, PatchContext& context) const;

 private:
  std::string name_;
  std::vector<UNetLayer> layers_;
  std::optional<Conv3x3> downsampler_;
};

// Of a config with middle_depths: UNetMidBlock2DCrossAttn, and UNetMidBlock2D as U-Nets have it:
// one ResNet block.
class MidBlock {
 public:
  MidBlock(const WeightScope& weights, const UNetConfig& config, SiteRegistry& sites);
  at::Tensor operator()(const at::Tensor& image, const UNetConditions& conditions,
                        PatchContext& context) const;

 private:
  std::string name_;
  UNetLayer first_;
  std::optional<ResnetBlock> second_;
};

// UpBlock2D and CrossAttnUpBlock2D.
class UpBlock {
 public:
  UpBlock(const WeightScope& weights, const UNetConfig& config, int level, SiteRegistry& sites);
  // Takes its layers' inputs from the back of `skips`, then doubles the image to the size of the
  // skip that is last there.
  at::Tensor operator()(at::Tensor image, const UNetConditions& conditions,
                        std::vector<at::Tensor>& skips, PatchContext& context) const;

 private:
  std::string name_;
  std::vector<UNetLayer> layers_;
  std::optional<Upsampler> upsampler_;
};

}  // namespace pcpp

#endif  // PCPP_MODELS_UNET_BLOCKS_H_
