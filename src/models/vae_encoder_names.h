// What an AutoencoderKL holds besides its decoder.
#ifndef PCPP_MODELS_VAE_ENCODER_NAMES_H_
#define PCPP_MODELS_VAE_ENCODER_NAMES_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace pcpp {

// The names of every weight that an encoder of `blocks` blocks with `layers` layers each may have,
// in older and newer folders, quant_conv's included.
std::vector<std::string> vae_encoder_names(std::size_t blocks, std::int64_t layers);

}  // namespace pcpp

#endif  // PCPP_MODELS_VAE_ENCODER_NAMES_H_
