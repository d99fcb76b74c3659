// Between the public host tensors and images and libtorch's tensors.
#ifndef PCPP_PIPELINE_TENSORS_H_
#define PCPP_PIPELINE_TENSORS_H_

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "pcpp/config.h"
#include "pcpp/image.h"

namespace pcpp {

// A float32 copy. Throws ConfigError, with `name`, where shape and values disagree or a value is
// not finite.
at::Tensor to_tensor(const FloatTensor& source, const char* name);
FloatTensor to_host(const at::Tensor& source);

// As diffusers' randn_tensor with a CPU generator: the whole batch in one draw, float32.
at::Tensor standard_normal(std::uint64_t seed, at::IntArrayRef shape);

// [3, h, w] in [-1, 1], nominally, to eight bits.
Image to_image(const at::Tensor& decoded);

}  // namespace pcpp

#endif  // PCPP_PIPELINE_TENSORS_H_
