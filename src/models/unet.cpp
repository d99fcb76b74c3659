#include "models/unet.h"

#include <ATen/ops/cat.h>
#include <ATen/ops/silu.h>

#include <utility>
#include <vector>

#include "base/check.h"
#include "models/time_embedding.h"
#include "models/unet_blocks.h"
#include "ops/conv2d.h"
#include "ops/group_norm.h"
#include "ops/linear.h"
#include "ops/span_log.h"

namespace pcpp {

struct UNet::Parts {
  Parts(const UNetConfig& options, const WeightScope& weights)
      : config(options),
        device(weights.device()),
        base_channels(options.levels.front().channels),
        time_embedding(weights.scope("time_embedding"), base_channels, 4 * base_channels),
        conv_in(weights.scope("conv_in"), options.in_channels, base_channels),
        down(make_down(weights)),
        mid(make_mid(weights)),
        up(make_up(weights)),
        norm_out(weights.scope("conv_norm_out"), base_channels, config.norm_groups,
                 config.norm_epsilon, GroupNorm::Activation::silu, 0, sites),
        conv_out(weights.scope("conv_out"), base_channels, config.out_channels, 1, 0, sites) {
    if (config.added) {
      added_embedding.emplace(weights.scope("add_embedding"), config.added->input_width,
                              4 * base_channels);
      added_slot = sites.add_condition_slot();
    }
    if (config.guidance_width > 0) {
      guidance_projection.emplace(weights.scope("time_embedding").scope("cond_proj"),
                                  config.guidance_width, base_channels, Linear::Bias::no);
      guidance_slot = sites.add_condition_slot();
    }
    weights.finish();
    parameters = weights.taken_elements();
  }

  int level_count() const { return static_cast<int>(config.levels.size()); }

  std::vector<DownBlock> make_down(const WeightScope& weights) {
    std::vector<DownBlock> blocks;
    for (int i = 0; i < level_count(); ++i) {
      blocks.emplace_back(weights.scope("down_blocks").scope(i), config, i, sites);
    }
    return blocks;
  }

  std::optional<MidBlock> make_mid(const WeightScope& weights) {
    if (!config.middle_depth) return std::nullopt;
    return MidBlock(weights.scope("mid_block"), config, sites);
  }

  std::vector<UpBlock> make_up(const WeightScope& weights) {
    std::vector<UpBlock> blocks;
    for (int i = 0; i < level_count(); ++i) {
      blocks.emplace_back(weights.scope("up_blocks").scope(i), config, level_count() - 1 - i,
                          sites);
    }
    return blocks;
  }

  at::Tensor sinusoid_of(const at::Tensor& positions, std::int64_t width) const {
    return sinusoid(positions, width, config.flip_sin_to_cos, config.frequency_shift);
  }

  // [1, 4 * base_channels]
  at::Tensor embed_time(const at::Tensor& timestep, at::ScalarType dtype,
                        PatchContext& context) const {
    const at::Tensor position = sinusoid_of(timestep.narrow(0, 0, 1), base_channels).to(dtype);
    if (!guidance_projection) return time_embedding(position);
    at::Tensor& told = context.condition_slot(guidance_slot);
    if (!told.defined()) {
      const at::Tensor scale = guidance_sinusoid(timestep.narrow(0, 1, 1), config.guidance_width);
      told = (*guidance_projection)(scale.to(dtype));
    }
    return time_embedding(position.add(told));
  }

  at::Tensor embed_added(const AddedConditions& added, at::ScalarType dtype) const {
    const at::Tensor times = sinusoid_of(added.time_ids.flatten(), config.added->time_width)
                                 .view({added.time_ids.size(0), -1});
    const at::Tensor input = at::cat({added.text_embeds.to(at::kFloat), times}, 1).to(dtype);
    check<ConfigError>(
        input.size(1) == config.added->input_width,
        "pooled text of width {} with {} time ids fills {} of the {} inputs of the U-Net's added "
        "embedding; give the pooled text of this model's own text encoder",
        added.text_embeds.size(1), added.time_ids.size(1), input.size(1),
        config.added->input_width);
    return (*added_embedding)(input);
  }

  UNetConfig config;
  at::Device device;
  std::int64_t base_channels;
  std::int64_t parameters = 0;
  SiteRegistry sites;  // filled by the members below, in the order in which they run
  TimeEmbedding time_embedding;
  std::optional<TimeEmbedding> added_embedding;
  int added_slot = 0;
  std::optional<Linear> guidance_projection;
  int guidance_slot = 0;
  ConvIn conv_in;
  std::vector<DownBlock> down;
  std::optional<MidBlock> mid;
  std::vector<UpBlock> up;
  GroupNorm norm_out;
  Conv3x3 conv_out;
};

UNet::UNet(const UNetConfig& config, const WeightScope& weights)
    : parts_(std::make_unique<Parts>(config, weights)) {}
UNet::~UNet() = default;
UNet::UNet(UNet&&) noexcept = default;
UNet& UNet::operator=(UNet&&) noexcept = default;

at::Tensor UNet::operator()(const at::Tensor& latents, const at::Tensor& timestep,
                            const at::Tensor& text, const std::optional<AddedConditions>& added,
                            PatchContext& context) const {
  const UNetConfig& config = parts_->config;
  check<ConfigError>(latents.dim() == 4 && latents.size(1) == config.in_channels,
                     "the latents' channels must be the U-Net's in_channels, {}",
                     config.in_channels);
  check<ConfigError>(text.dim() == 3 && text.size(2) == config.text_width,
                     "the text states' width is {}, the U-Net's cross_attention_dim {}; give the "
                     "states of this model's own text encoder",
                     text.size(-1), config.text_width);
  check<ConfigError>(timestep.numel() == (config.guidance_width > 0 ? 2 : 1),
                     "this U-Net {} the guidance scale behind the timestep",
                     config.guidance_width > 0 ? "needs" : "does not take");
  check<ConfigError>(added.has_value() == config.added.has_value(),
                     "this U-Net {} pooled text and time ids",
                     config.added ? "needs" : "does not take");

  const SpanScope scope("unet");
  at::Tensor time = parts_->embed_time(timestep, latents.scalar_type(), context);
  if (added) {
    at::Tensor& embedded = context.condition_slot(parts_->added_slot);
    if (!embedded.defined()) embedded = parts_->embed_added(*added, latents.scalar_type());
    time = time.add(embedded);
  }
  const UNetConditions conditions{at::silu(time), text};

  at::Tensor image =
      parts_->conv_in(latents, !context.is_first(), !context.is_last());  // [n, c, rows, columns]
  std::vector<at::Tensor> skips{image};
  for (const DownBlock& block : parts_->down) image = block(image, conditions, skips, context);
  if (parts_->mid) image = (*parts_->mid)(image, conditions, context);
  for (const UpBlock& block : parts_->up) image = block(image, conditions, skips, context);
  const Conv3x3& conv_out = parts_->conv_out;
  return conv_out(parts_->norm_out(image, context, conv_out.padding(context)), context);
}

at::Device UNet::device() const { return parts_->device; }

const UNetConfig& UNet::config() const { return parts_->config; }

std::int64_t UNet::parameters() const { return parts_->parameters; }

const SiteRegistry& UNet::sites() const { return parts_->sites; }

std::int64_t UNet::row_unit() const { return parts_->config.row_unit(); }

}  // namespace pcpp
