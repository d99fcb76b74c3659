// How a timestep, and SDXL's sizes, reach the U-Net's blocks.
#ifndef PCPP_MODELS_TIME_EMBEDDING_H_
#define PCPP_MODELS_TIME_EMBEDDING_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>

#include "ops/linear.h"
#include "ops/weight_scope.h"

namespace pcpp {

// Timesteps: [n] positions to [n, width] float32 sinusoids of the frequencies
// 10000^(-i / (width / 2 - frequency_shift)), sines first unless `flip_sin_to_cos`. (Denoising
// Diffusion Probabilistic Models, arXiv 2006.11239, after "Attention Is All You Need", 3.5.)
at::Tensor sinusoid(const at::Tensor& positions, std::int64_t width, bool flip_sin_to_cos,
                    double frequency_shift);

// Guidance scales: [n] scales less 1 to [n, width] float32, as get_guidance_scale_embedding() of
// diffusers (arXiv 2210.03142, section 3.1).
at::Tensor guidance_sinusoid(const at::Tensor& scales, std::int64_t width);

// TimestepEmbedding: two linear layers with SiLU between them. Immutable.
class TimeEmbedding {
 public:
  TimeEmbedding(const WeightScope& weights, std::int64_t in, std::int64_t width);
  at::Tensor operator()(const at::Tensor& input) const;

 private:
  std::string name_;
  Linear linear1_;
  Linear linear2_;
};

}  // namespace pcpp

#endif  // PCPP_MODELS_TIME_EMBEDDING_H_
