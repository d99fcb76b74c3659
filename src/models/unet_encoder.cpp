#include "models/unet_encoder.h"

#include <ATen/ops/cat.h>
#include <ATen/ops/silu.h>

#include "base/check.h"

namespace pcpp {

UNetEncoder::UNetEncoder(const UNetConfig& config, const WeightScope& weights, SiteRegistry& sites)
    : config_(config),
      time_embedding_(weights.scope("time_embedding"), base_channels(), 4 * base_channels()),
      conv_in_(weights.scope("conv_in"), config.in_channels, base_channels()) {
  for (int level = 0; level < static_cast<int>(config.levels.size()); ++level) {
    down_.emplace_back(weights.scope("down_blocks").scope(level), config, level, sites);
  }
  if (config.middle_depths) mid_.emplace(weights.scope("mid_block"), config, sites);
  if (config.added) {
    added_embedding_.emplace(weights.scope("add_embedding"), config.added->input_width,
                             4 * base_channels());
    added_slot_ = sites.add_condition_slot();
  }
  if (config.guidance_width > 0) {
    guidance_projection_.emplace(weights.scope("time_embedding").scope("cond_proj"),
                                 config.guidance_width, base_channels(), Linear::Bias::no);
    guidance_slot_ = sites.add_condition_slot();
  }
}

at::Tensor UNetEncoder::sinusoid_of(const at::Tensor& positions, std::int64_t width) const {
  return sinusoid(positions, width, config_.flip_sin_to_cos, config_.frequency_shift);
}

// [1, 4 * base_channels]
at::Tensor UNetEncoder::embed_time(const at::Tensor& timestep, at::ScalarType dtype,
                                   PatchContext& context) const {
  const at::Tensor position = sinusoid_of(timestep.narrow(0, 0, 1), base_channels()).to(dtype);
  if (!guidance_projection_) return time_embedding_(position);
  at::Tensor& told = context.condition_slot(guidance_slot_);
  if (!told.defined()) {
    const at::Tensor scale = guidance_sinusoid(timestep.narrow(0, 1, 1), config_.guidance_width);
    told = (*guidance_projection_)(scale.to(dtype));
  }
  return time_embedding_(position.add(told));
}

at::Tensor UNetEncoder::embed_added(const AddedConditions& added, at::ScalarType dtype) const {
  const at::Tensor times = sinusoid_of(added.time_ids.flatten(), config_.added->time_width)
                               .view({added.time_ids.size(0), -1});
  const at::Tensor input = at::cat({added.text_embeds.to(at::kFloat), times}, 1).to(dtype);
  check<std::logic_error>(
      input.size(1) == config_.added->input_width,
      "pooled text of width {} with {} time ids fills {} of the {} inputs of the U-Net's added "
      "embedding",
      added.text_embeds.size(1), added.time_ids.size(1), input.size(1), config_.added->input_width);
  return (*added_embedding_)(input);
}

UNetConditions UNetEncoder::conditions(const at::Tensor& timestep, const PromptTokens& prompt,
                                       const std::optional<AddedConditions>& added,
                                       PatchContext& context) const {
  at::Tensor time = embed_time(timestep, prompt.text.scalar_type(), context);
  if (added_embedding_) {
    at::Tensor& embedded = context.condition_slot(added_slot_);
    if (!embedded.defined()) embedded = embed_added(*added, prompt.text.scalar_type());
    time = time.add(embedded);
  }
  return {at::silu(time), prompt};
}

at::Tensor UNetEncoder::operator()(const at::Tensor& latents, const at::Tensor& addend,
                                   const UNetConditions& conditions, std::vector<at::Tensor>& skips,
                                   PatchContext& context) const {
  at::Tensor image =
      conv_in_(latents, !context.is_first(), !context.is_last());  // [n, c, rows, columns]
  if (addend.defined()) image.add_(addend);
  skips.push_back(image);
  for (const DownBlock& block : down_) image = block(image, conditions, skips, context);
  return mid_ ? (*mid_)(image, conditions, context) : image;
}

std::vector<std::int64_t> UNetEncoder::skip_channels() const {
  std::vector<std::int64_t> channels = {base_channels()};
  for (const UNetLevel& level : config_.levels) {
    const bool is_halved = &level != &config_.levels.back();
    channels.insert(channels.end(), static_cast<std::size_t>(level.layers + (is_halved ? 1 : 0)),
                    level.channels);
  }
  return channels;
}

}  // namespace pcpp
