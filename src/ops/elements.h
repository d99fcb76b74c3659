// The types of tensors' elements, as libtorch's and as the kernels'.
#ifndef PCPP_OPS_ELEMENTS_H_
#define PCPP_OPS_ELEMENTS_H_

#include <ATen/core/Tensor.h>

#include <stdexcept>

#include "base/check.h"
#include "kernels/bfloat16.h"
#include "kernels/float16.h"
#include "kernels/vector_level.h"
#include "pcpp/config.h"

namespace pcpp {

// As libtorch has it.
inline at::ScalarType scalar_type_of(DataType dtype) {
  if (dtype == DataType::float32) return at::kFloat;
  return dtype == DataType::float16 ? at::kHalf : at::kBFloat16;
}

// Calls function(pointer to the first element as the kernels' type), for the kernels with a stream.
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

// Of a tensor on a CPU.
inline VectorElement vector_element_of(const at::Tensor& tensor) {
  switch (tensor.scalar_type()) {
    case at::kFloat:
      return VectorElement::float32;
    case at::kBFloat16:
      return VectorElement::bfloat16;
    default:
      fail<std::logic_error>("a CPU computes in float32 or bfloat16");
  }
}

// As with_gpu_elements(), for the kernels of a CPU.
template <typename Function>
void with_cpu_elements(const at::Tensor& tensor, const Function& function) {
  const void* data = tensor.const_data_ptr();
  vector_element_of(tensor) == VectorElement::bfloat16
      ? function(static_cast<const Bfloat16*>(data))
      : function(static_cast<const float*>(data));
}

}  // namespace pcpp

#endif  // PCPP_OPS_ELEMENTS_H_
