// What a run begins with: noise, or images under noise, of which masks may keep a part.
#ifndef PCPP_PIPELINE_BEGINNING_H_
#define PCPP_PIPELINE_BEGINNING_H_

#include <ATen/core/Tensor.h>

#include <optional>

#include "base/deadline.h"
#include "pcpp/config.h"
#include "pcpp/pipeline.h"
#include "pipeline/denoise.h"
#include "pipeline/networks.h"
#include "pipeline/request.h"
#include "pipeline/tensors.h"
#include "schedulers/scheduler.h"

namespace pcpp {

// What a request's seeds draw before its steps: standard normal, as diffusers draws it.
struct BeginningNoise {
  StandardNormal normal;     // after what follows
  at::Tensor latents;        // that the run begins with, or the request's own
  at::Tensor images;         // for the posterior of init images; undefined where none are encoded
  at::Tensor masked_images;  // of what masks keep of them, read or not; undefined without masks
};

// Throws ConfigError where a checked request's latents are not what they are said to be.
BeginningNoise draw_noise(const GenerationRequest& request, const RequestSizes& sizes,
                          const ModelInfo& model);

struct Beginning {
  at::Tensor latents;             // that the first step begins with
  std::optional<KeptImage> kept;  // as DenoiseTask has it
  at::Tensor beside;              // likewise
};

// Encodes what is needed of init images; where there are any, networks.load_encoder() comes first.
// Throws as encode() does, and Cancelled.
Beginning begin_run(const Networks& networks, const GenerationRequest& request,
                    const RequestSizes& sizes, const Scheduler& scheduler,
                    const BeginningNoise& noise, Clock::time_point trace_zero,
                    GenerationResult& result);

}  // namespace pcpp

#endif  // PCPP_PIPELINE_BEGINNING_H_
