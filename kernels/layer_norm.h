// LayerNorm, and in the same pass the sum before it: a residual connection ends where the next
// layer's norm begins.
#ifndef PCPP_KERNELS_LAYER_NORM_H_
#define PCPP_KERNELS_LAYER_NORM_H_

#include <cstdint>

#include "kernels/bfloat16.h"
#include "kernels/float16.h"

struct CUstream_st;  // what a cudaStream_t points to

namespace pcpp {

// Rows of `width` elements, one after the other.
template <typename T>
struct NormRows {
  const T* input = nullptr;
  const T* addend = nullptr;  // null: nothing is added
  T* sum = nullptr;           // with an addend: where input + addend goes; may be `input`
  T* output = nullptr;        // overlaps nothing else
  std::int64_t width = 0;
};

struct LayerNormalisation {
  const float* weight = nullptr;  // [width]
  const float* bias = nullptr;    // [width]
  float epsilon = 0;
};

// output = (x - mean) / sqrt(variance + epsilon) * weight + bias (arXiv 1607.06450, eq. 4), where x
// is a row of input + addend, rounded to T as `sum` has it, and mean and variance are those of its
// elements. Computed in float32, the variance from differences to the mean.
void layer_norm(const NormRows<float>& rows, std::int64_t count,
                const LayerNormalisation& normalisation);
void layer_norm(const NormRows<Bfloat16>& rows, std::int64_t count,
                const LayerNormalisation& normalisation);

// The same on a GPU, queued on `stream`, T being float, Float16 or Bfloat16. 16 bytes at a time
// where pointers and rows are at multiples of that, else by the element. PCPP_CUDA builds it.
// Throws DeviceError where the kernel cannot be launched.
template <typename T>
void layer_norm(const NormRows<T>& rows, std::int64_t count,
                const LayerNormalisation& normalisation, CUstream_st* stream);

}  // namespace pcpp

#endif  // PCPP_KERNELS_LAYER_NORM_H_
