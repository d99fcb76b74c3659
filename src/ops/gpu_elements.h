// The elements of a tensor on a GPU, for the kernels with a stream.
#ifndef PCPP_OPS_GPU_ELEMENTS_H_
#define PCPP_OPS_GPU_ELEMENTS_H_

#include <ATen/core/Tensor.h>

#include <stdexcept>

#include "base/check.h"
#include "kernels/bfloat16.h"
#include "kernels/float16.h"

namespace pcpp {

// Calls function(pointer to the first element as the kernels' type).
template <typename Function>
void with_gpu_elements(const at::Tensor& tensor, const Function& function) {
  const void* data = tensor.const_data_ptr();
  switch (tensor.scalar_type()) {
    case at::kFloat:
      return function(static_cast<const float*>(data));
    case at::kHalf:
      return function(static_cast<const Float16*>(data));
    case at::kBFloat16:
      return function(static_cast<const Bfloat16*>(data));
    default:
      fail<std::logic_error>("a GPU computes in float32, float16 or bfloat16");
  }
}

}  // namespace pcpp

#endif  // PCPP_OPS_GPU_ELEMENTS_H_
