#include "kernels/guided_step.h"

namespace pcpp {

void guided_step(const float* latents, const Predictions<float>& predictions,
                 const LinearUpdate& update, std::int64_t count, float* next) {
  for (std::int64_t i = 0; i < count; ++i) {
    float noise = predictions.conditional[i];
    if (predictions.unconditional != nullptr) {
      const float unconditional = predictions.unconditional[i];
      noise = unconditional + predictions.scale * (noise - unconditional);
    }
    next[i] = update.sample * latents[i] + update.noise * noise;
  }
}

}  // namespace pcpp
