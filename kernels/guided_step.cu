#include "kernels/device.h"
#include "kernels/guided_step.h"

namespace pcpp {

namespace {

// Latents are small: a thread for each element keeps the most of it under way.
template <typename T>
__global__ void __launch_bounds__(kThreads)
    update_elements(const float* latents, Predictions<T> predictions, LinearUpdate update,
                    std::int64_t count, float* next) {
  const std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (i >= count) return;
  float noise = as_float(predictions.conditional[i]);
  if (predictions.unconditional != nullptr) {
    const float unconditional = as_float(predictions.unconditional[i]);
    noise = fmaf(predictions.scale, noise - unconditional, unconditional);
  }
  next[i] = fmaf(update.sample, latents[i], update.noise * noise);
}

}  // namespace

template <typename T>
void guided_step(const float* latents, const Predictions<T>& predictions,
                 const LinearUpdate& update, std::int64_t count, float* next, CUstream_st* stream) {
  launch("guided_step", update_elements<T>, dim3(static_cast<unsigned>(divide_up(count, kThreads))),
         stream, latents, predictions, update, count, next);
}

#define PCPP_FOR_ELEMENT(T)                                                           \
  template void guided_step(const float*, const Predictions<T>&, const LinearUpdate&, \
                            std::int64_t, float*, CUstream_st*);
PCPP_FOR_ELEMENT(float)
PCPP_FOR_ELEMENT(Float16)
PCPP_FOR_ELEMENT(Bfloat16)
#undef PCPP_FOR_ELEMENT

}  // namespace pcpp
