// The elements of tensors as the kernels' types.
#ifndef PCPP_OPS_ELEMENTS_H_
#define PCPP_OPS_ELEMENTS_H_

#include <ATen/core/Tensor.h>

#include <stdexcept>
#include <type_traits>

#include "base/check.h"
#include "kernels/bfloat16.h"
#include "kernels/float16.h"
#include "kernels/vector_level.h"

namespace pcpp {

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

// Likewise for those on a CPU.
template <typename Function>
void with_cpu_elements(const at::Tensor& tensor, const Function& function) {
  const void* data = tensor.const_data_ptr();
  switch (tensor.scalar_type()) {
    case at::kFloat:
      return function(static_cast<const float*>(data));
    case at::kBFloat16:
      return function(static_cast<const Bfloat16*>(data));
    default:
      fail<std::logic_error>("a CPU computes in float32 or bfloat16");
  }
}

// For those that are chosen by it.
inline VectorElement vector_element_of(const at::Tensor& tensor) {
  VectorElement element = VectorElement::float32;
  with_cpu_elements(tensor, [&]<typename T>(const T* /*elements*/) {
    if constexpr (std::is_same_v<T, Bfloat16>) element = VectorElement::bfloat16;
  });
  return element;
}

}  // namespace pcpp

#endif  // PCPP_OPS_ELEMENTS_H_
