#include "models/vae_config.h"

#include <fmt/format.h>

#include <cstddef>
#include <string>

namespace pcpp {
namespace {

constexpr std::size_t kMostBlocks = 16;

void check_block_types(ConfigReader& config, const char* key, const std::string& supported,
                       std::size_t count) {
  const std::vector<std::string> types = config.texts(key, {supported});
  if (types != std::vector<std::string>(count, supported)) {
    config.refuse(key, "each entry of block_out_channels must have a block of type " + supported);
  }
}

void check_values(ConfigReader& config, const VaeConfig& read) {
  check_block_types(config, "down_block_types", "DownEncoderBlock2D", read.channels.size());
  check_block_types(config, "up_block_types", "UpDecoderBlock2D", read.channels.size());
  if (read.latent_channels < 1) config.refuse("latent_channels", "it must be at least 1");
  if (read.layers < 1) config.refuse("layers_per_block", "it must be at least 1");
  if (read.norm.groups < 1) config.refuse("norm_num_groups", "it must be at least 1");
  for (const std::int64_t channels : read.channels) {
    if (channels < 1 || channels % read.norm.groups != 0) {
      config.refuse("block_out_channels", "each entry must be a multiple of norm_num_groups");
    }
  }
  if (read.scaling_factor == 0) config.refuse("scaling_factor", "it must not be 0");
}

}  // namespace

std::vector<std::int64_t> read_vae_channels(ConfigReader& config) {
  std::vector<std::int64_t> channels = config.integers("block_out_channels", {64});
  if (channels.empty() || channels.size() > kMostBlocks) {
    config.refuse("block_out_channels",
                  fmt::format("it must have between 1 and {} entries", kMostBlocks));
  }
  return channels;
}

bool leaves_float16(ConfigReader& config) { return config.boolean("force_upcast", true); }

VaeConfig read_vae_config(ConfigReader config) {
  VaeConfig read;
  config.require_equal("in_channels", kPixelChannels, kPixelChannels);
  config.require_equal("out_channels", kPixelChannels, kPixelChannels);
  config.require_equal("act_fn", "silu", "silu");
  config.require_equal("mid_block_add_attention", true, true);
  config.require_equal("latents_mean", nlohmann::json());
  config.require_equal("latents_std", nlohmann::json());
  read.latent_channels = config.integer("latent_channels", 4);
  read.channels = read_vae_channels(config);
  read.layers = config.integer("layers_per_block", 1);
  read.norm.groups = config.integer("norm_num_groups", 32);
  read.scaling_factor = config.number("scaling_factor", 0.18215);
  read.shift_factor = config.optional_number("shift_factor").value_or(0);
  read.quant_conv = config.boolean("use_quant_conv", true);
  read.post_quant_conv = config.boolean("use_post_quant_conv", true);
  check_values(config, read);
  // The tiling's, and what whoever loads the weights asks for.
  config.ignore({"sample_size", "force_upcast"});
  config.finish();
  return read;
}

}  // namespace pcpp
