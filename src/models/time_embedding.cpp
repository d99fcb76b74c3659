#include "models/time_embedding.h"

#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/cos.h>
#include <ATen/ops/exp.h>
#include <ATen/ops/silu.h>
#include <ATen/ops/sin.h>

#include <cmath>

#include "ops/span_log.h"

namespace pcpp {

at::Tensor sinusoid(const at::Tensor& positions, std::int64_t width, bool flip_sin_to_cos,
                    double frequency_shift) {
  const std::int64_t half = width / 2;
  // The order of the operations is diffusers', so that the angles, up to 1000, agree to the bit.
  const at::Tensor exponents = at::arange(half, positions.options().dtype(at::kFloat))
                                   .mul_(-std::log(10000.0))
                                   .div_(static_cast<double>(half) - frequency_shift);
  const at::Tensor angles =
      positions.to(at::kFloat).unsqueeze(1).mul(at::exp(exponents).unsqueeze(0));
  return flip_sin_to_cos ? at::cat({at::cos(angles), at::sin(angles)}, 1)
                         : at::cat({at::sin(angles), at::cos(angles)}, 1);
}

at::Tensor guidance_sinusoid(const at::Tensor& scales, std::int64_t width) {
  return sinusoid(scales.mul(1000), width, /*flip_sin_to_cos=*/false, /*frequency_shift=*/1);
}

TimeEmbedding::TimeEmbedding(const WeightScope& weights, std::int64_t in, std::int64_t width)
    : name_(weights.path()),
      linear1_(weights.scope("linear_1"), in, width),
      linear2_(weights.scope("linear_2"), width, width) {}

at::Tensor TimeEmbedding::operator()(const at::Tensor& input) const {
  const SpanScope scope(name_);
  return linear2_(at::silu(linear1_(input)));
}

}  // namespace pcpp
