// What lies in the middle of an AutoencoderKL's encoder and of its decoder.
#ifndef PCPP_MODELS_VAE_MIDDLE_H_
#define PCPP_MODELS_VAE_MIDDLE_H_

#include <ATen/core/Tensor.h>

#include <stop_token>

#include "models/layers.h"
#include "models/vae_config.h"
#include "ops/attention.h"
#include "ops/group_norm.h"
#include "ops/patch_context.h"
#include "ops/site_registry.h"
#include "ops/weight_scope.h"

namespace pcpp {

// UNetMidBlock2D at the latents' level: a block, attention over all pixels with one head, a block.
// Immutable.
class VaeMiddle {
 public:
  VaeMiddle(const WeightScope& weights, const VaeConfig& config, SiteRegistry& sites);

  // image [batch, channels, rows, columns] -> the same shape. Throws Cancelled at the next block
  // once `stop` is requested.
  at::Tensor operator()(const at::Tensor& image, PatchContext& context,
                        const std::stop_token& stop) const;

 private:
  class Attention {
   public:
    Attention(const WeightScope& weights, const VaeConfig& config, SiteRegistry& sites);
    at::Tensor operator()(const at::Tensor& image, PatchContext& context) const;

   private:
    GroupNorm norm_;
    SelfAttention attention_;
  };

  ResnetBlock first_;
  Attention attention_;
  ResnetBlock second_;
};

}  // namespace pcpp

#endif  // PCPP_MODELS_VAE_MIDDLE_H_
