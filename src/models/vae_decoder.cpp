#include "models/vae_decoder.h"

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/check.h"
#include "models/layers.h"
#include "models/vae_config.h"
#include "models/vae_encoder_names.h"
#include "models/vae_middle.h"
#include "ops/conv2d.h"
#include "ops/group_norm.h"
#include "ops/linear.h"

namespace pcpp {
namespace {

// UpDecoderBlock2D.
struct DecoderBlock {
  std::vector<ResnetBlock> resnets;
  std::optional<Upsampler> upsampler;
};

}  // namespace

struct VaeDecoder::Parts {
  // `decoder` is `weights.scope("decoder")`.
  Parts(const VaeConfig& read, const WeightScope& weights, const WeightScope& decoder)
      : config(read),
        conv_in(decoder.scope("conv_in"), config.latent_channels, config.channels.back()),
        middle(decoder.scope("mid_block"), config, sites),
        blocks(make_blocks(decoder)),
        norm_out(decoder.scope("conv_norm_out"), config.channels.front(), config.norm.groups,
                 config.norm.epsilon, GroupNorm::Activation::silu, config.pixel_level(), sites),
        conv_out(decoder.scope("conv_out"), config.channels.front(), kPixelChannels, 1,
                 config.pixel_level(), sites) {
    if (config.post_quant_conv) {
      post_quant_conv.emplace(weights.scope("post_quant_conv"), config.latent_channels,
                              config.latent_channels, Linear::Bias::yes,
                              Linear::Kind::convolution_1x1);
    }
    for (const std::string& name : vae_encoder_names(config.channels.size(), config.layers)) {
      weights.ignore(name);
    }
    weights.finish();
  }

  std::vector<DecoderBlock> make_blocks(const WeightScope& decoder) {
    std::vector<DecoderBlock> result;
    std::int64_t in = config.channels.back();
    for (std::size_t i = 0; i < config.channels.size(); ++i) {
      const std::int64_t out = config.channels[config.channels.size() - 1 - i];
      const WeightScope block = decoder.scope("up_blocks").scope(static_cast<std::int64_t>(i));
      const int level = -static_cast<int>(i);
      DecoderBlock& made = result.emplace_back();
      for (std::int64_t j = 0; j <= config.layers; ++j) {
        made.resnets.emplace_back(block.scope("resnets").scope(j), in, out, std::nullopt,
                                  config.norm, level, sites);
        in = out;
      }
      if (i + 1 < config.channels.size()) {
        made.upsampler.emplace(block.scope("upsamplers").scope(0), out, level - 1, sites);
      }
    }
    return result;
  }

  VaeConfig config;
  SiteRegistry sites;  // filled by the members below, in the order in which they run
  std::optional<Linear> post_quant_conv;
  ConvIn conv_in;
  VaeMiddle middle;
  std::vector<DecoderBlock> blocks;
  GroupNorm norm_out;
  Conv3x3 conv_out;
};

VaeDecoder::VaeDecoder(ConfigReader config, const WeightScope& weights)
    : parts_(std::make_unique<Parts>(read_vae_config(std::move(config)), weights,
                                     weights.scope("decoder"))) {}
VaeDecoder::~VaeDecoder() = default;
VaeDecoder::VaeDecoder(VaeDecoder&&) noexcept = default;
VaeDecoder& VaeDecoder::operator=(VaeDecoder&&) noexcept = default;

at::Tensor VaeDecoder::decode(const at::Tensor& latents, PatchContext& context,
                              const std::stop_token& stop) const {
  check<std::logic_error>(latents.dim() == 4 && latents.size(1) == latent_channels(),
                          "latents of {} channels for a VAE of {}", latents.size(1),
                          latent_channels());
  const auto go_on = [&stop] { check_not_stopped(stop); };
  const VaeConfig& config = parts_->config;
  at::Tensor image = latents.div(config.scaling_factor).add(config.shift_factor);
  image = image.to(dtype()).contiguous(at::MemoryFormat::ChannelsLast);
  if (parts_->post_quant_conv) {
    image = as_image((*parts_->post_quant_conv)(as_tokens(image)), image.size(2));
  }
  go_on();
  image = parts_->conv_in(image, !context.is_first(), !context.is_last());
  image = parts_->middle(image, context, stop);
  for (const DecoderBlock& block : parts_->blocks) {
    for (const ResnetBlock& resnet : block.resnets) {
      go_on();
      image = resnet(image, {}, context);
    }
    if (!block.upsampler) continue;
    go_on();
    image = (*block.upsampler)(image, 2 * image.size(2), 2 * image.size(3), context);
  }
  go_on();
  const Conv3x3& conv_out = parts_->conv_out;
  return conv_out(parts_->norm_out(image, context, conv_out.padding(context)), context);
}

std::int64_t VaeDecoder::latent_channels() const { return parts_->config.latent_channels; }

std::int64_t VaeDecoder::scale() const { return parts_->config.scale(); }

const SiteRegistry& VaeDecoder::sites() const { return parts_->sites; }

at::ScalarType VaeDecoder::dtype() const {
  return parts_->sites.convolutions().front().kernel->dtype();
}

}  // namespace pcpp
