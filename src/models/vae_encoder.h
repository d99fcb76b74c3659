// diffusers' AutoencoderKL: the encoder.
#ifndef PCPP_MODELS_VAE_ENCODER_H_
#define PCPP_MODELS_VAE_ENCODER_H_

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
class VaeEncoder {
 public:
  // Reads the component's config.json whole and takes the weights of the encoder and of quant_conv;
  // the decoder's are left on disk. Throws CheckpointError for an encoder with others.
  VaeEncoder(ConfigReader config, const WeightScope& weights);
  ~VaeEncoder();
  VaeEncoder(VaeEncoder&&) noexcept;
  VaeEncoder& operator=(VaeEncoder&&) noexcept;

  // Pixels in [-1, 1], [n, 3, scale() rows, scale() w]: those of the context's band and, where the
  // image goes on, one row of them more on each side. Returns the band's part of the posterior that
  // latents_of() draws from, [n, 2 latent_channels, rows, w]: means and logarithms of variances.
  // Every site reads the rows of this step, so `context` must be in a synchronous one. Throws
  // Cancelled at the next block once `stop` is requested.
  at::Tensor encode(const at::Tensor& pixels, PatchContext& context,
                    const std::stop_token& stop = {}) const;

  // Latents as the U-Net's loop takes them: drawn from `posterior` [n, 2 latent_channels, rows, w]
  // by standard normal `noise` [n, latent_channels, rows, w], and scaled (and shifted, where the
  // config says so, as the decoder undoes it: diffusers' Stable Diffusion leaves that out of both).
  at::Tensor latents_of(const at::Tensor& posterior, const at::Tensor& noise) const;

  std::int64_t latent_channels() const;
  // Pixels a latent row: 2^(blocks - 1).
  std::int64_t scale() const;
  at::ScalarType dtype() const;
  // From level 1 - blocks, the pixels', up to 0, the latents'.
  const SiteRegistry& sites() const;

 private:
  struct Parts;
  std::unique_ptr<Parts> parts_;
};

}  // namespace pcpp

#endif  // PCPP_MODELS_VAE_ENCODER_H_
