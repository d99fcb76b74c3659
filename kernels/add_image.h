// The end of a residual block in one pass: the sum of two images and of a bias for every pixel.
#ifndef PCPP_KERNELS_ADD_IMAGE_H_
#define PCPP_KERNELS_ADD_IMAGE_H_

#include <cstdint>

#include "kernels/bfloat16.h"
#include "kernels/float16.h"

struct CUstream_st;  // what a cudaStream_t points to

namespace pcpp {

// sum[p, c] += image[p, c] + bias[c] for `pixels` pixels [pixels, channels]. `sum` must not overlap
// the others.
void add_image(float* sum, const float* image, const float* bias, std::int64_t pixels,
               std::int64_t channels);

// The same on a GPU, queued on `stream`, T being float, Float16 or Bfloat16; computed in float32
// and rounded once. 16 bytes at a time where pointers and rows are at multiples of that, else by
// the element. PCPP_CUDA builds it. Throws DeviceError where the kernel cannot be launched.
template <typename T>
void add_image(T* sum, const T* image, const T* bias, std::int64_t pixels, std::int64_t channels,
               CUstream_st* stream);

}  // namespace pcpp

#endif  // PCPP_KERNELS_ADD_IMAGE_H_
