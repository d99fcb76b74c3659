#include "ops/linear.h"

#include <ATen/ops/cat.h>
#include <ATen/ops/layer_norm.h>
#include <ATen/ops/linear.h>

namespace pcpp {

Linear::Linear(const WeightScope& weights, std::int64_t in, std::int64_t out, Bias bias, Kind kind)
    : weight_(kind == Kind::linear ? weights.take("weight", {out, in})
                                   : weights.take("weight", {out, in, 1, 1}).reshape({out, in})) {
  if (bias == Bias::yes) bias_ = weights.take("bias", {out});
}

Linear::Linear(const WeightScope& first, const WeightScope& second, std::int64_t in,
               std::int64_t out_each)
    : weight_(at::cat({first.take("weight", {out_each, in}), second.take("weight", {out_each, in})},
                      0)) {}

at::Tensor Linear::operator()(const at::Tensor& input) const {
  return at::linear(input, weight_, bias_);
}

LayerNorm::LayerNorm(const WeightScope& weights, std::int64_t width, double epsilon)
    : weight_(weights.take("weight", {width})),
      bias_(weights.take("bias", {width})),
      epsilon_(epsilon) {}

at::Tensor LayerNorm::operator()(const at::Tensor& input) const {
  return at::layer_norm(input, weight_.sizes(), weight_, bias_, epsilon_);
}

}  // namespace pcpp
