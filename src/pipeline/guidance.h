// Classifier-free guidance, on noise predictions.
#ifndef PCPP_PIPELINE_GUIDANCE_H_
#define PCPP_PIPELINE_GUIDANCE_H_

#include <ATen/core/Tensor.h>

namespace pcpp {

// unconditional + scale (conditional - unconditional) (arXiv 2207.12598, eq. 6).
at::Tensor guided(const at::Tensor& unconditional, const at::Tensor& conditional, double scale);

// rescale at the standard deviation of `conditional` + (1 - rescale) as it is, each image [c, h, w]
// of `guided` by itself (arXiv 2305.08891, eq. 15 and 16).
at::Tensor rescaled(const at::Tensor& guided, const at::Tensor& conditional, double rescale);

}  // namespace pcpp

#endif  // PCPP_PIPELINE_GUIDANCE_H_
