// diffusers' AutoencoderKL: the decoder.
#ifndef PCPP_MODELS_VAE_DECODER_H_
#define PCPP_MODELS_VAE_DECODER_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <stop_token>

#include "io/config_reader.h"
#include "ops/patch_context.h"
#include "ops/site_registry.h"
#include "ops/weight_scope.h"

namespace pcpp {

// Immutable; thread-safe.
class VaeDecoder {
 public:
  // Reads the component's config.json whole and takes the weights of the decoder and of
  // post_quant_conv; the encoder's are known and left on disk.
  VaeDecoder(ConfigReader config, const WeightScope& weights);
  ~VaeDecoder();
  VaeDecoder(VaeDecoder&&) noexcept;
  VaeDecoder& operator=(VaeDecoder&&) noexcept;

  // Latents as the U-Net's loop leaves them, [n, latent_channels, h, w]: the context's band and,
  // where the image goes on, one row more on each side. Undoes the scaling (and the shift, where
  // the config has one) and returns the band's pixels, [n, 3, scale() rows, scale() w], nominally
  // in [-1, 1]. Every site reads the rows of this step, so `context` must be in a synchronous one.
  // Throws Cancelled at the next block once `stop` is requested.
  at::Tensor decode(const at::Tensor& latents, PatchContext& context,
                    const std::stop_token& stop = {}) const;

  std::int64_t latent_channels() const;
  // Pixels a latent row: 2^(blocks - 1).
  std::int64_t scale() const;
  at::ScalarType dtype() const;
  // From level 0, the latents', down to 1 - blocks, the pixels'.
  const SiteRegistry& sites() const;

 private:
  struct Parts;
  std::unique_ptr<Parts> parts_;
};

}  // namespace pcpp

#endif  // PCPP_MODELS_VAE_DECODER_H_
