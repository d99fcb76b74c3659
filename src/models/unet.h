// diffusers' UNet2DConditionModel over one band of rows.
#ifndef PCPP_MODELS_UNET_H_
#define PCPP_MODELS_UNET_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <optional>

#include "io/config_reader.h"
#include "models/unet_config.h"
#include "ops/patch_context.h"
#include "ops/site_registry.h"
#include "ops/weight_scope.h"

namespace pcpp {

// SDXL's further conditions ("text_time"); absent for the other families.
struct AddedConditions {
  at::Tensor text_embeds;  // [batch, pooled width]
  at::Tensor time_ids;     // [batch, 6]: original height and width, crop top and left, target h, w
};

// Immutable once built; any number of ranks may call it at once, each with its own context.
class UNet {
 public:
  // Takes every weight of the scope; throws CheckpointError for one missing, extra or wrongly
  // shaped. With WeightScope::shapes_only() it serves for planning: it may be called on tensors
  // without memory (meta) alone.
  UNet(const UNetConfig& config, const WeightScope& weights);
  ~UNet();
  UNet(UNet&&) noexcept;
  UNet& operator=(UNet&&) noexcept;

  // latents: [batch, in_channels, rows (+ the fresh halo rows that exist), columns], the network's
  // dtype: the rank's band of the scaled latent, with one more row above unless the context is the
  // first band, and one below unless it is the last. timestep: [1] float32; where the config has a
  // guidance_width [2], the second the guidance scale less 1, the same in every call with a
  // context. text: [batch, tokens, cross_attention_dim]. Returns the noise prediction of the band:
  // [batch, out_channels, rows, columns], network's dtype.
  at::Tensor operator()(const at::Tensor& latents, const at::Tensor& timestep,
                        const at::Tensor& text, const std::optional<AddedConditions>& added,
                        PatchContext& context) const;

  // Where its weights lie, and its inputs must.
  at::Device device() const;
  const UNetConfig& config() const;
  std::int64_t parameters() const;
  const SiteRegistry& sites() const;
  // UNetConfig::row_unit().
  std::int64_t row_unit() const;

 private:
  struct Parts;
  std::unique_ptr<Parts> parts_;
};

}  // namespace pcpp

#endif  // PCPP_MODELS_UNET_H_
