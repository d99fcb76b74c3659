#include "models/vae.h"

#include <algorithm>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/check.h"
#include "models/layers.h"
#include "models/vae_encoder_names.h"
#include "ops/attention.h"
#include "ops/conv2d.h"
#include "ops/group_norm.h"
#include "ops/linear.h"
#include "ops/patch_context.h"
#include "ops/site_registry.h"

namespace pcpp {
namespace {

// Fixed in diffusers' Decoder.
constexpr double kNormEpsilon = 1e-6;
constexpr std::int64_t kPixelChannels = 3;

struct VaeOptions {
  std::int64_t latent_channels = 0;
  std::vector<std::int64_t> channels;  // the pixels' own resolution first
  std::int64_t layers = 0;
  std::int64_t norm_groups = 0;
  double scaling_factor = 0;
  double shift_factor = 0;
  bool post_quant_conv = true;
};

void check_block_types(ConfigReader& config, const char* key, const std::string& supported,
                       std::size_t count) {
  const std::vector<std::string> types = config.texts(key, {supported});
  if (types != std::vector<std::string>(count, supported)) {
    config.refuse(key, "each entry of block_out_channels must have a block of type " + supported);
  }
}

VaeOptions read_options(ConfigReader& config) {
  VaeOptions options;
  config.require_equal("in_channels", kPixelChannels, kPixelChannels);
  config.require_equal("out_channels", kPixelChannels, kPixelChannels);
  config.require_equal("act_fn", "silu", "silu");
  config.require_equal("mid_block_add_attention", true, true);
  config.require_equal("latents_mean", nlohmann::json());
  config.require_equal("latents_std", nlohmann::json());
  options.latent_channels = config.integer("latent_channels", 4);
  options.channels = config.integers("block_out_channels", {64});
  options.layers = config.integer("layers_per_block", 1);
  options.norm_groups = config.integer("norm_num_groups", 32);
  options.scaling_factor = config.number("scaling_factor", 0.18215);
  options.shift_factor = config.optional_number("shift_factor").value_or(0);
  options.post_quant_conv = config.boolean("use_post_quant_conv", true);
  if (options.channels.empty() || options.channels.size() > 16) {
    config.refuse("block_out_channels", "it must have between 1 and 16 entries");
  }
  check_block_types(config, "down_block_types", "DownEncoderBlock2D", options.channels.size());
  check_block_types(config, "up_block_types", "UpDecoderBlock2D", options.channels.size());
  if (options.latent_channels < 1) config.refuse("latent_channels", "it must be at least 1");
  if (options.layers < 1) config.refuse("layers_per_block", "it must be at least 1");
  if (options.norm_groups < 1) config.refuse("norm_num_groups", "it must be at least 1");
  for (const std::int64_t channels : options.channels) {
    if (channels < 1 || channels % options.norm_groups != 0) {
      config.refuse("block_out_channels", "each entry must be a multiple of norm_num_groups");
    }
  }
  if (options.scaling_factor == 0) config.refuse("scaling_factor", "it must not be 0");
  // The encoder's, the tiling's, and a warning about float16, which is not used here.
  config.ignore({"sample_size", "use_quant_conv", "force_upcast"});
  config.finish();
  return options;
}

NormOptions norm_options(const VaeOptions& options) { return {options.norm_groups, kNormEpsilon}; }

// The mid block's attention over all pixels, with one head. Immutable.
class ImageAttention {
 public:
  ImageAttention(const WeightScope& weights, std::int64_t channels, std::int64_t norm_groups,
                 SiteRegistry& sites)
      : norm_(weights.scope("group_norm"), channels, norm_groups, kNormEpsilon,
              GroupNorm::Activation::none, 0, sites),
        attention_(weights.path(),
                   {either(weights, "to_q", "query"), either(weights, "to_k", "key"),
                    either(weights, "to_v", "value"), either(weights, "to_out.0", "proj_attn")},
                   Linear::Bias::yes, channels, 1, 0, sites) {}

  at::Tensor operator()(const at::Tensor& image, PatchContext& context) const {
    const at::Tensor tokens = as_tokens(norm_(image, context));
    return as_image(attention_(tokens, context), image.size(2)).add_(image);
  }

 private:
  // Folders of before 2023 have the older name.
  static WeightScope either(const WeightScope& weights, const std::string& name,
                            const std::string& older) {
    return weights.scope(weights.has(older + ".weight") ? older : name);
  }

  GroupNorm norm_;
  SelfAttention attention_;
};

// UpDecoderBlock2D.
struct DecoderBlock {
  std::vector<ResnetBlock> resnets;
  std::optional<Upsampler> upsampler;
};

}  // namespace

struct VaeDecoder::Parts {
  // `decoder` is `weights.scope("decoder")`.
  Parts(const VaeOptions& read, const WeightScope& weights, const WeightScope& decoder)
      : options(read),
        conv_in(decoder.scope("conv_in"), options.latent_channels, options.channels.back()),
        mid_first(mid_resnet(decoder, 0)),
        mid_attention(decoder.scope("mid_block").scope("attentions").scope(0),
                      options.channels.back(), options.norm_groups, sites),
        mid_second(mid_resnet(decoder, 1)),
        blocks(make_blocks(decoder)),
        norm_out(decoder.scope("conv_norm_out"), options.channels.front(), options.norm_groups,
                 kNormEpsilon, GroupNorm::Activation::silu, pixel_level(), sites),
        conv_out(decoder.scope("conv_out"), options.channels.front(), kPixelChannels, 1,
                 pixel_level(), sites) {
    if (options.post_quant_conv) {
      post_quant_conv.emplace(weights.scope("post_quant_conv"), options.latent_channels,
                              options.latent_channels, Linear::Bias::yes,
                              Linear::Kind::convolution_1x1);
    }
    for (const std::string& name : vae_encoder_names(options.channels.size(), options.layers)) {
      weights.ignore(name);
    }
    weights.finish();
  }

  int pixel_level() const { return 1 - static_cast<int>(options.channels.size()); }

  ResnetBlock mid_resnet(const WeightScope& decoder, std::int64_t index) {
    return ResnetBlock(decoder.scope("mid_block").scope("resnets").scope(index),
                       options.channels.back(), options.channels.back(), std::nullopt,
                       norm_options(options), 0, sites);
  }

  std::vector<DecoderBlock> make_blocks(const WeightScope& decoder) {
    std::vector<DecoderBlock> result;
    std::int64_t in = options.channels.back();
    for (std::size_t i = 0; i < options.channels.size(); ++i) {
      const std::int64_t out = options.channels[options.channels.size() - 1 - i];
      const WeightScope block = decoder.scope("up_blocks").scope(static_cast<std::int64_t>(i));
      const int level = -static_cast<int>(i);
      DecoderBlock& made = result.emplace_back();
      for (std::int64_t j = 0; j <= options.layers; ++j) {
        made.resnets.emplace_back(block.scope("resnets").scope(j), in, out, std::nullopt,
                                  norm_options(options), level, sites);
        in = out;
      }
      if (i + 1 < options.channels.size()) {
        made.upsampler.emplace(block.scope("upsamplers").scope(0), out, level - 1, sites);
      }
    }
    return result;
  }

  VaeOptions options;
  SiteRegistry sites;  // filled by the members below, in the order in which they run
  std::optional<Linear> post_quant_conv;
  ConvIn conv_in;
  ResnetBlock mid_first;
  ImageAttention mid_attention;
  ResnetBlock mid_second;
  std::vector<DecoderBlock> blocks;
  GroupNorm norm_out;
  Conv3x3 conv_out;
};

VaeDecoder::VaeDecoder(ConfigReader config, const WeightScope& weights)
    : parts_(std::make_unique<Parts>(read_options(config), weights, weights.scope("decoder"))) {}
VaeDecoder::~VaeDecoder() = default;
VaeDecoder::VaeDecoder(VaeDecoder&&) noexcept = default;
VaeDecoder& VaeDecoder::operator=(VaeDecoder&&) noexcept = default;

at::Tensor VaeDecoder::decode(const at::Tensor& latents, PatchContext& context,
                              const std::stop_token& stop) const {
  check<ConfigError>(latents.dim() == 4 && latents.size(1) == latent_channels(),
                     "the latents' channels must be the VAE's latent_channels, {}",
                     latent_channels());
  const auto go_on = [&stop] { check_not_stopped(stop); };
  at::Tensor image = latents.div(parts_->options.scaling_factor).add(parts_->options.shift_factor);
  image = image.to(dtype()).contiguous(at::MemoryFormat::ChannelsLast);
  if (parts_->post_quant_conv) {
    image = as_image((*parts_->post_quant_conv)(as_tokens(image)), image.size(2));
  }
  go_on();
  image = parts_->conv_in(image, !context.is_first(), !context.is_last());
  image = parts_->mid_first(image, {}, context);
  go_on();
  image = parts_->mid_attention(image, context);
  go_on();
  image = parts_->mid_second(image, {}, context);
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

std::int64_t VaeDecoder::latent_channels() const { return parts_->options.latent_channels; }

std::int64_t VaeDecoder::scale() const {
  return std::int64_t{1} << (parts_->options.channels.size() - 1);
}

const SiteRegistry& VaeDecoder::sites() const { return parts_->sites; }

at::ScalarType VaeDecoder::dtype() const {
  return parts_->sites.convolutions().front().kernel->dtype();
}

}  // namespace pcpp
