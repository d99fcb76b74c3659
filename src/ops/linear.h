// Layers that look at one token at a time and so never need a neighbour.
#ifndef PCPP_OPS_LINEAR_H_
#define PCPP_OPS_LINEAR_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>

#include "ops/weight_scope.h"

namespace pcpp {

// y = x W^T + b over the last dimension, with W in the layout that the library computes with. A 1x1
// convolution's weight [out, in, 1, 1] is read as [out, in].
class Linear {
 public:
  enum class Bias { yes, no };
  enum class Kind { linear, convolution_1x1 };
  Linear(const WeightScope& weights, std::int64_t in, std::int64_t out, Bias bias = Bias::yes,
         Kind kind = Kind::linear);
  // Two weights of the same input stacked into one product (keys and values).
  Linear(const WeightScope& first, const WeightScope& second, std::int64_t in,
         std::int64_t out_each, Bias bias);

  at::Tensor operator()(const at::Tensor& input) const;
  // [batch, n, in] to `output` [batch, n, out], whose items may lie apart.
  void write(const at::Tensor& input, at::Tensor& output) const;

  // Makes `more` [out] part of its bias. Once made, before all calls.
  void add_to_bias(const at::Tensor& more) { bias_ = bias_.add(more); }

 private:
  void pack();

  std::string name_;
  at::Tensor weight_;  // as oneDNN lays it out where `packed_`
  at::Tensor bias_;
  bool packed_ = false;
};

// GEGLU: (x V^T + b) * gelu(x G^T + c), where `weight` holds V, then G, and `bias` b, then c.
class Geglu {
 public:
  // Takes `weight` [2 * out, in] and `bias` [2 * out].
  Geglu(const WeightScope& weights, std::int64_t in, std::int64_t out);

  // [batch, tokens, in] contiguous -> [batch, tokens, out], some tokens at a time: the product,
  // twice as wide as the result, is never there as a whole.
  at::Tensor operator()(const at::Tensor& input) const;

 private:
  Linear product_;
  std::int64_t out_;
};

// Over the last dimension. Immutable.
class LayerNorm {
 public:
  // Takes `weight` and `bias` [width].
  LayerNorm(const WeightScope& weights, std::int64_t width, double epsilon);

  // float32, bfloat16 or, on a GPU, float16, to the same.
  at::Tensor operator()(const at::Tensor& input) const;
  // Adds `addend` to `tokens`, both contiguous and of one shape, and returns the sum normalised: in
  // one pass.
  at::Tensor of_sum(const at::Tensor& tokens, const at::Tensor& addend) const;

 private:
  at::Tensor normalised(const at::Tensor& input, const at::Tensor& addend) const;

  std::string name_;
  at::Tensor weight_;  // [width] float32, whatever the network's dtype
  at::Tensor bias_;
  double epsilon_;
};

}  // namespace pcpp

#endif  // PCPP_OPS_LINEAR_H_
