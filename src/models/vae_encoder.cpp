#include "models/vae_encoder.h"

#include <ATen/TensorOperators.h>

#include <optional>
#include <utility>
#include <vector>

#include "base/check.h"
#include "models/layers.h"
#include "models/vae_config.h"
#include "models/vae_middle.h"
#include "ops/conv2d.h"
#include "ops/group_norm.h"
#include "ops/linear.h"

namespace pcpp {
namespace {

// As diffusers' DiagonalGaussianDistribution cuts logarithms of variances.
constexpr double kLeastLogVariance = -30;
constexpr double kMostLogVariance = 20;

// DownEncoderBlock2D.
struct EncoderBlock {
  std::vector<ResnetBlock> resnets;
  std::optional<DownConv3x3> downsampler;
};

}  // namespace

struct VaeEncoder::Parts {
  // `encoder` is `weights.scope("encoder")`.
  Parts(const VaeConfig& read, const WeightScope& weights, const WeightScope& encoder)
      : config(read),
        conv_in(encoder.scope("conv_in"), kPixelChannels, config.channels.front()),
        blocks(make_blocks(encoder)),
        middle(encoder.scope("mid_block"), config, sites),
        norm_out(encoder.scope("conv_norm_out"), config.channels.back(), config.norm.groups,
                 config.norm.epsilon, GroupNorm::Activation::silu, 0, sites),
        conv_out(encoder.scope("conv_out"), config.channels.back(), 2 * config.latent_channels, 1,
                 0, sites) {
    if (config.quant_conv) {
      quant_conv.emplace(weights.scope("quant_conv"), 2 * config.latent_channels,
                         2 * config.latent_channels, Linear::Bias::yes,
                         Linear::Kind::convolution_1x1);
    }
    encoder.finish();
  }

  std::vector<EncoderBlock> make_blocks(const WeightScope& encoder) {
    std::vector<EncoderBlock> result;
    std::int64_t in = config.channels.front();
    for (std::size_t i = 0; i < config.channels.size(); ++i) {
      const std::int64_t out = config.channels[i];
      const WeightScope block = encoder.scope("down_blocks").scope(static_cast<std::int64_t>(i));
      const int level = config.pixel_level() + static_cast<int>(i);
      EncoderBlock& made = result.emplace_back();
      for (std::int64_t j = 0; j < config.layers; ++j) {
        made.resnets.emplace_back(block.scope("resnets").scope(j), in, out, std::nullopt,
                                  config.norm, level, sites);
        in = out;
      }
      if (i + 1 < config.channels.size()) {
        made.downsampler.emplace(block.scope("downsamplers").scope(0).scope("conv"), out, out,
                                 level, sites);
      }
    }
    return result;
  }

  VaeConfig config;
  SiteRegistry sites;  // filled by the members below, in the order in which they run
  ConvIn conv_in;
  std::vector<EncoderBlock> blocks;
  VaeMiddle middle;
  GroupNorm norm_out;
  Conv3x3 conv_out;
  std::optional<Linear> quant_conv;
};

VaeEncoder::VaeEncoder(ConfigReader config, const WeightScope& weights)
    : parts_(std::make_unique<Parts>(read_vae_config(std::move(config)), weights,
                                     weights.scope("encoder"))) {}
VaeEncoder::~VaeEncoder() = default;
VaeEncoder::VaeEncoder(VaeEncoder&&) noexcept = default;
VaeEncoder& VaeEncoder::operator=(VaeEncoder&&) noexcept = default;

at::Tensor VaeEncoder::encode(const at::Tensor& pixels, PatchContext& context,
                              const std::stop_token& stop) const {
  const at::Tensor rows = pixels.to(dtype()).contiguous(at::MemoryFormat::ChannelsLast);
  at::Tensor image = parts_->conv_in(rows, !context.is_first(), !context.is_last());
  for (const EncoderBlock& block : parts_->blocks) {
    for (const ResnetBlock& resnet : block.resnets) {
      check_not_stopped(stop);
      image = resnet(image, {}, context);
    }
    if (!block.downsampler) continue;
    check_not_stopped(stop);
    image = (*block.downsampler)(image, context);
  }
  image = parts_->middle(image, context, stop);
  check_not_stopped(stop);
  const Conv3x3& conv_out = parts_->conv_out;
  image = conv_out(parts_->norm_out(image, context, conv_out.padding(context)), context);
  if (!parts_->quant_conv) return image;
  return as_image((*parts_->quant_conv)(as_tokens(image)), image.size(2));
}

at::Tensor VaeEncoder::latents_of(const at::Tensor& posterior, const at::Tensor& noise) const {
  const std::vector<at::Tensor> halves = posterior.chunk(2, 1);
  const at::Tensor deviation = halves[1].clamp(kLeastLogVariance, kMostLogVariance).mul(0.5).exp();
  const at::Tensor drawn = halves[0] + deviation * noise;
  return (drawn - parts_->config.shift_factor) * parts_->config.scaling_factor;
}

std::int64_t VaeEncoder::latent_channels() const { return parts_->config.latent_channels; }

std::int64_t VaeEncoder::scale() const { return parts_->config.scale(); }

const SiteRegistry& VaeEncoder::sites() const { return parts_->sites; }

at::ScalarType VaeEncoder::dtype() const {
  return parts_->sites.convolutions().front().kernel->dtype();
}

}  // namespace pcpp
