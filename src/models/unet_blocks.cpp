#include "models/unet_blocks.h"

#include <cstddef>
#include <utility>

#include "ops/span_log.h"

namespace pcpp {
namespace {

const UNetLevel& level_of(const UNetConfig& config, int level) {
  return config.levels.at(static_cast<std::size_t>(level));
}

int last_level(const UNetConfig& config) { return static_cast<int>(config.levels.size()) - 1; }

// The time embedding is four times as wide as its sinusoid.
std::int64_t time_width(const UNetConfig& config) { return 4 * config.levels.front().channels; }

NormOptions norm_options(const UNetConfig& config) {
  return {config.norm_groups, config.norm_epsilon};
}

// Layer `index` of a block at `level`, whose transformers have `depths` layers, if there are any;
// built in the order in which it runs.
UNetLayer make_layer(const WeightScope& block, const UNetConfig& config, int level,
                     std::int64_t index, std::int64_t in, const std::vector<std::int64_t>& depths,
                     SiteRegistry& sites) {
  const UNetLevel& options = level_of(config, level);
  UNetLayer layer{ResnetBlock(block.scope("resnets").scope(index), in, options.channels,
                              time_width(config), norm_options(config), level, sites),
                  std::nullopt};
  if (!depths.empty()) {
    layer.transformer.emplace(block.scope("attentions").scope(index),
                              TransformerOptions{options.channels, options.heads, config.text_width,
                                                 depths.at(static_cast<std::size_t>(index)),
                                                 config.norm_groups, config.linear_projection},
                              level, sites);
  }
  return layer;
}

}  // namespace

at::Tensor UNetLayer::operator()(const at::Tensor& image, const UNetConditions& conditions,
                                 PatchContext& context) const {
  at::Tensor hidden = resnet(image, conditions.time, context);
  return transformer ? (*transformer)(hidden, conditions.prompt, context) : hidden;
}

DownBlock::DownBlock(const WeightScope& weights, const UNetConfig& config, int level,
                     SiteRegistry& sites)
    : name_(weights.path()) {
  const UNetLevel& options = level_of(config, level);
  std::int64_t in = level_of(config, level == 0 ? 0 : level - 1).channels;
  for (std::int64_t i = 0; i < options.layers; ++i) {
    layers_.push_back(make_layer(weights, config, level, i, in, options.down_depths, sites));
    in = options.channels;
  }
  if (level < last_level(config)) {
    downsampler_.emplace(weights.scope("downsamplers").scope(0).scope("conv"), in, in, 2, level,
                         sites);
  }
}

at::Tensor DownBlock::operator()(at::Tensor image, const UNetConditions& conditions,
                                 std::vector<at::Tensor>& skips, PatchContext& context) const {
  const SpanScope scope(name_);
  for (const UNetLayer& layer : layers_) {
    image = layer(image, conditions, context);
    skips.push_back(image);
  }
  if (downsampler_) {
    image = (*downsampler_)(image, context);
    skips.push_back(image);
  }
  return image;
}

MidBlock::MidBlock(const WeightScope& weights, const UNetConfig& config, SiteRegistry& sites)
    : name_(weights.path()),
      first_(make_layer(weights, config, last_level(config), 0, config.levels.back().channels,
                        *config.middle_depths, sites)) {
  if (config.middle_depths->empty()) return;
  second_.emplace(weights.scope("resnets").scope(1), config.levels.back().channels,
                  config.levels.back().channels, time_width(config), norm_options(config),
                  last_level(config), sites);
}

at::Tensor MidBlock::operator()(const at::Tensor& image, const UNetConditions& conditions,
                                PatchContext& context) const {
  const SpanScope scope(name_);
  at::Tensor hidden = first_(image, conditions, context);
  return second_ ? (*second_)(hidden, conditions.time, context) : hidden;
}

UpBlock::UpBlock(const WeightScope& weights, const UNetConfig& config, int level,
                 SiteRegistry& sites)
    : name_(weights.path()) {
  const UNetLevel& options = level_of(config, level);
  const std::int64_t below = level_of(config, std::min(level + 1, last_level(config))).channels;
  const std::int64_t above = level_of(config, std::max(level - 1, 0)).channels;
  for (std::int64_t i = 0; i <= options.layers; ++i) {
    const std::int64_t in = i == 0 ? below : options.channels;
    // The last layer's skip is the image before this level's first layer on the way down.
    const std::int64_t skip = i == options.layers ? above : options.channels;
    layers_.push_back(make_layer(weights, config, level, i, in + skip, options.up_depths, sites));
  }
  if (level > 0) {
    upsampler_.emplace(weights.scope("upsamplers").scope(0), options.channels, level - 1, sites);
  }
}

at::Tensor UpBlock::operator()(at::Tensor image, const UNetConditions& conditions,
                               std::vector<at::Tensor>& skips, PatchContext& context) const {
  const SpanScope scope(name_);
  for (const UNetLayer& layer : layers_) {
    const at::Tensor skip = std::move(skips.back());
    skips.pop_back();
    image = layer(join_channels(image, skip), conditions, context);
  }
  if (!upsampler_) return image;
  return (*upsampler_)(image, skips.back().size(2), skips.back().size(3), context);
}

}  // namespace pcpp
