// What a U-Net and a ControlNet have in common: the way down, the middle, and what tells their
// blocks of time.
#ifndef PCPP_MODELS_UNET_ENCODER_H_
#define PCPP_MODELS_UNET_ENCODER_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>
#include <vector>

#include "models/time_embedding.h"
#include "models/unet_blocks.h"
#include "models/unet_config.h"
#include "ops/conv2d.h"
#include "ops/linear.h"
#include "ops/patch_context.h"
#include "ops/site_registry.h"
#include "ops/weight_scope.h"

namespace pcpp {

// SDXL's further conditions ("text_time"); absent for the other families.
struct AddedConditions {
  at::Tensor text_embeds;  // [batch, pooled width]
  at::Tensor time_ids;     // [batch, 6]: original height and width, crop top and left, target h, w
};

// Immutable.
class UNetEncoder {
 public:
  // Registers the sites of its blocks, in the order in which they run.
  UNetEncoder(const UNetConfig& config, const WeightScope& weights, SiteRegistry& sites);

  // What blocks are told in one step. timestep: [1] float32, or [2] where the config has a
  // guidance_width, the second the guidance scale less 1. `added` is read where the config has
  // it.
  UNetConditions conditions(const at::Tensor& timestep, const PromptTokens& prompt,
                            const std::optional<AddedConditions>& added,
                            PatchContext& context) const;

  // latents: [batch, in_channels, rows (+ the fresh halo rows that exist), columns]. `addend` is
  // added after the first convolution, [batch, first channels, rows, columns]; undefined: nothing
  // is. Returns what the middle makes, and appends to `skips` what the way up reads besides.
  at::Tensor operator()(const at::Tensor& latents, const at::Tensor& addend,
                        const UNetConditions& conditions, std::vector<at::Tensor>& skips,
                        PatchContext& context) const;

  // Of each of the skips.
  std::vector<std::int64_t> skip_channels() const;

 private:
  std::int64_t base_channels() const { return config_.levels.front().channels; }
  at::Tensor sinusoid_of(const at::Tensor& positions, std::int64_t width) const;
  at::Tensor embed_time(const at::Tensor& timestep, at::ScalarType dtype,
                        PatchContext& context) const;
  at::Tensor embed_added(const AddedConditions& added, at::ScalarType dtype) const;

  UNetConfig config_;
  TimeEmbedding time_embedding_;
  std::optional<TimeEmbedding> added_embedding_;
  int added_slot_ = 0;
  std::optional<Linear> guidance_projection_;
  int guidance_slot_ = 0;
  ConvIn conv_in_;
  std::vector<DownBlock> down_;
  std::optional<MidBlock> mid_;
};

}  // namespace pcpp

#endif  // PCPP_MODELS_UNET_ENCODER_H_
