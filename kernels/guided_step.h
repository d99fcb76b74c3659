// The end of a step in one pass: guidance, then a scheduler's update where it is linear in sample
// and noise. On the CPU, and on a GPU (the function with a stream, which PCPP_CUDA builds).
#ifndef PCPP_KERNELS_GUIDED_STEP_H_
#define PCPP_KERNELS_GUIDED_STEP_H_

#include <cstdint>

#include "kernels/bfloat16.h"
#include "kernels/float16.h"

struct CUstream_st;  // what a cudaStream_t points to

namespace pcpp {

// x' = sample * x + noise * e for a prediction e: the updates of DDIM without clipping or
// thresholding and of Euler, whatever is predicted.
struct LinearUpdate {
  float sample = 1;
  float noise = 0;
};

// The network's predictions, `count` elements each.
template <typename T>
struct Predictions {
  const T* conditional = nullptr;
  const T* unconditional = nullptr;  // null: without guidance
  float scale = 1;                   // e = unconditional + scale * (conditional - unconditional)
};

// next = the update of `latents` by the guided prediction, element by element. `next` may be
// `latents`.
void guided_step(const float* latents, const Predictions<float>& predictions,
                 const LinearUpdate& update, std::int64_t count, float* next);

// The same, queued on `stream`, T being float, Float16 or Bfloat16; arithmetic is in float32,
// pointers are to device memory. Throws DeviceError where the kernel cannot be launched.
template <typename T>
void guided_step(const float* latents, const Predictions<T>& predictions,
                 const LinearUpdate& update, std::int64_t count, float* next, CUstream_st* stream);

}  // namespace pcpp

#endif  // PCPP_KERNELS_GUIDED_STEP_H_
