// What an AutoencoderKL's config.json says.
#ifndef PCPP_MODELS_VAE_CONFIG_H_
#define PCPP_MODELS_VAE_CONFIG_H_

#include <cstdint>
#include <vector>

#include "io/config_reader.h"
#include "models/layers.h"

namespace pcpp {

inline constexpr std::int64_t kPixelChannels = 3;

struct VaeConfig {
  std::int64_t latent_channels = 0;
  std::vector<std::int64_t> channels;    // of each block, the pixels' own resolution first
  std::int64_t layers = 0;               // of each of the encoder's blocks
  NormOptions norm = {.epsilon = 1e-6};  // fixed in diffusers' Encoder and Decoder
  double scaling_factor = 0;
  double shift_factor = 0;
  bool quant_conv = true;
  bool post_quant_conv = true;

  // The level of the pixels; the latents' is 0.
  int pixel_level() const { return 1 - static_cast<int>(channels.size()); }
  // Pixels a latent row.
  std::int64_t scale() const { return std::int64_t{1} << (channels.size() - 1); }
};

// Its block_out_channels. Throws CheckpointError where there are none, or too many.
std::vector<std::int64_t> read_vae_channels(ConfigReader& config);

// Its force_upcast: whether its values leave the range of float16.
bool leaves_float16(ConfigReader& config);

// Throws CheckpointError, naming the key, for what is not supported.
VaeConfig read_vae_config(ConfigReader config);

}  // namespace pcpp

#endif  // PCPP_MODELS_VAE_CONFIG_H_
