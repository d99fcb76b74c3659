// diffusers' UNet2DConditionModel over one band of rows, and the ControlNets that steer it.
#ifndef PCPP_MODELS_UNET_H_
#define PCPP_MODELS_UNET_H_

#include <ATen/core/Tensor.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "models/control_net.h"
#include "models/control_net_config.h"
#include "models/unet_config.h"
#include "models/unet_encoder.h"
#include "ops/patch_context.h"
#include "ops/site_registry.h"
#include "ops/weight_scope.h"

namespace pcpp {

// Immutable once built; any number of ranks may call it at once, each with its own context.
class UNet {
 public:
  // Takes every weight of the scope, and of `control_weights` those of each ControlNet; throws
  // CheckpointError for one missing, extra or wrongly shaped. With WeightScope::shapes_only() it
  // serves for planning: it may be called on tensors without memory (meta) alone. `weights` may
  // have adapters (WeightScope::with_adapters), of which the cross-attentions take all.
  UNet(const NetworkConfig& config, const WeightScope& weights,
       const std::vector<WeightScope>& control_weights = {});
  ~UNet();
  UNet(UNet&&) noexcept;
  UNet& operator=(UNet&&) noexcept;

  // latents: [batch, in_channels, rows (+ the fresh halo rows that exist), columns], the network's
  // dtype: the rank's band of the scaled latent, with one more row above unless the context is the
  // first band, and one below unless it is the last. timestep: [1] float32; where the config has a
  // guidance_width [2], the second the guidance scale less 1, the same in every call with a
  // context. prompt: text_width is cross_attention_dim; ControlNets read its text alone.
  // `controls`: one for each ControlNet, its image of the whole batch. Returns the noise prediction
  // of the band: [batch, out_channels, rows, columns], network's dtype.
  at::Tensor operator()(const at::Tensor& latents, const at::Tensor& timestep,
                        const PromptTokens& prompt, const std::optional<AddedConditions>& added,
                        PatchContext& context,
                        const std::vector<ControlInput>& controls = {}) const;

  // Where its weights lie, and its inputs must.
  at::Device device() const;
  const UNetConfig& config() const;
  const NetworkConfig& network() const;
  const ControlNet& control(std::size_t index) const;
  std::int64_t parameters() const;  // its ControlNets' and adapters' too
  const SiteRegistry& sites() const;
  // UNetConfig::row_unit().
  std::int64_t row_unit() const;

 private:
  struct Parts;
  std::unique_ptr<Parts> parts_;
};

}  // namespace pcpp

#endif  // PCPP_MODELS_UNET_H_
