// GELU-gated linear unit, after the product that makes its two halves.
#ifndef PCPP_KERNELS_GEGLU_H_
#define PCPP_KERNELS_GEGLU_H_

#include <cstdint>

#include "kernels/bfloat16.h"
#include "kernels/float16.h"

struct CUstream_st;  // what a cudaStream_t points to

namespace pcpp {

// output[r, c] = input[r, c] * gelu(input[r, width + c]) for `rows` rows, input [rows, 2 width],
// output [rows, width]; gelu(x) = x * (1 + erf(x / sqrt(2))) / 2, to 8e-6 relative for x above -9,
// below which the result is zero to 1e-17. Computed in float32; `output` must not overlap `input`.
void geglu(const float* input, float* output, std::int64_t rows, std::int64_t width);
void geglu(const Bfloat16* input, Bfloat16* output, std::int64_t rows, std::int64_t width);

// The same on a GPU, queued on `stream`, T being float, Float16 or Bfloat16; to 3e-7 of |value *
// gate|. 16 bytes at a time where pointers and rows are at multiples of that, else by the element.
// PCPP_CUDA builds it. Throws DeviceError where the kernel cannot be launched.
template <typename T>
void geglu(const T* input, T* output, std::int64_t rows, std::int64_t width, CUstream_st* stream);

}  // namespace pcpp

#endif  // PCPP_KERNELS_GEGLU_H_
