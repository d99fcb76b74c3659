// Pixels to latents and latents to pixels, in bands by a request's ranks.
#ifndef PCPP_PIPELINE_VAE_BANDS_H_
#define PCPP_PIPELINE_VAE_BANDS_H_

#include <ATen/core/Tensor.h>

#include "base/deadline.h"
#include "pcpp/config.h"
#include "pcpp/pipeline.h"
#include "pipeline/networks.h"

namespace pcpp {

// Both work on all pictures, whole, float32 on the CPU. As many of the result's ranks as get
// a latent row compute, whatever the method: each a band, one picture at a time, and reads the
// others' rows fresh. Their records go into the result, and their traces, counted from
// `trace_zero`, where it has one. Throw DeviceError where a value is not finite, and what their
// ranks throw.

// Pixels [images, 3, height, width] -> the posterior, as VaeEncoder::encode(). After
// networks.load_encoder().
at::Tensor encode(const Networks& networks, const GenerationRequest& request,
                  const at::Tensor& pixels, Clock::time_point trace_zero, GenerationResult& result);

// Latents [images, c, rows, columns], as the last step left them -> the result's images. After
// networks.load_decoder().
void decode(const Networks& networks, const GenerationRequest& request, const at::Tensor& latents,
            Clock::time_point trace_zero, GenerationResult& result);

}  // namespace pcpp

#endif  // PCPP_PIPELINE_VAE_BANDS_H_
