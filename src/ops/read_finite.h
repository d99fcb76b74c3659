// Tensors of files as libtorch's, with finite numbers alone.
#ifndef PCPP_OPS_READ_FINITE_H_
#define PCPP_OPS_READ_FINITE_H_

#include <ATen/core/Tensor.h>

#include <string>

#include "io/safetensors.h"

namespace pcpp {

// A contiguous copy on the CPU: float32, float16 and bfloat16 as they are stored, all others as
// float32. Throws CheckpointError with `name` where a value is not a finite float32 number, and as
// to_float() does.
at::Tensor read_finite(const TensorView& view, const std::string& name);

// Whether none of the numbers of a contiguous tensor on the CPU (float32, float16 or bfloat16) is
// infinite or not a number.
bool all_finite(const at::Tensor& values);

}  // namespace pcpp

#endif  // PCPP_OPS_READ_FINITE_H_
