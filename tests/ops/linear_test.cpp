#include "ops/linear.h"

#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/gelu.h>
#include <ATen/ops/layer_norm.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include <string>
#include <tuple>
#include <vector>

#include "pcpp/error.h"
#include "support/random_weights.h"
#include "support/tensors.h"

namespace pcpp {
namespace {

constexpr double kRounding = 1e-6;

RandomWeights linear_weights() {
  RandomWeights weights(3);
  weights.add("a.weight", {12, 20});
  weights.add("a.bias", {12});
  weights.add("b.weight", {12, 20});
  weights.add("conv.weight", {12, 20, 1, 1});
  weights.add("conv.bias", {12});
  return weights;
}

at::Tensor product(const at::Tensor& input, const at::Tensor& weight) {
  return at::matmul(input.to(at::kDouble), weight.to(at::kDouble).reshape({12, 20}).t());
}

TEST(Linear, IsTheProductAndTheBias) {
  const RandomWeights weights = linear_weights();
  const WeightScope scope = weights.scope();
  const Linear with_bias(scope.scope("a"), 20, 12);
  const Linear without_bias(scope.scope("b"), 20, 12, Linear::Bias::no);
  const at::Tensor input = random_tensor(1, {2, 5, 20});
  EXPECT_LT(relative_error(with_bias(input),
                           product(input, weights.at("a.weight")) + weights.at("a.bias")),
            kRounding);
  EXPECT_LT(relative_error(without_bias(input), product(input, weights.at("b.weight"))), kRounding);
}

TEST(Linear, ReadsTheKernelOfAConvolution) {
  const RandomWeights weights = linear_weights();
  const Linear linear(weights.scope().scope("conv"), 20, 12, Linear::Bias::yes,
                      Linear::Kind::convolution_1x1);
  const at::Tensor input = random_tensor(1, {2, 5, 20});
  EXPECT_LT(relative_error(linear(input),
                           product(input, weights.at("conv.weight")) + weights.at("conv.bias")),
            kRounding);
  EXPECT_THROW(Linear(weights.scope().scope("conv"), 20, 12), CheckpointError);
  EXPECT_THROW(
      Linear(weights.scope().scope("a"), 20, 12, Linear::Bias::yes, Linear::Kind::convolution_1x1),
      CheckpointError);
}

TEST(Linear, StacksTwoWeights) {
  const RandomWeights weights = linear_weights();
  const WeightScope scope = weights.scope();
  const Linear linear(scope.scope("b"), scope.scope("a"), 20, 12, Linear::Bias::no);
  const at::Tensor input = random_tensor(1, {2, 5, 20});
  const at::Tensor expected =
      at::cat({product(input, weights.at("b.weight")), product(input, weights.at("a.weight"))}, -1);
  EXPECT_LT(relative_error(linear(input), expected), kRounding);
}

TEST(Linear, Bfloat16IsWithinItsRounding) {
  const RandomWeights weights = linear_weights();
  const Linear linear(weights.scope(at::kBFloat16).scope("a"), 20, 12);
  const at::Tensor input = random_tensor(1, {2, 5, 20});
  const at::Tensor result = linear(input.to(at::kBFloat16));
  EXPECT_EQ(result.scalar_type(), at::kBFloat16);
  EXPECT_LT(relative_error(result, product(input, weights.at("a.weight")) + weights.at("a.bias")),
            1e-2);
}

// Packed by oneDNN where it serves, and as libtorch computes without it.
class EveryLinear
    : public testing::TestWithParam<std::tuple<bool, at::ScalarType, std::int64_t, std::int64_t>> {
 protected:
  EveryLinear() { at::globalContext().setUserEnabledMkldnn(std::get<0>(GetParam())); }
  ~EveryLinear() override { at::globalContext().setUserEnabledMkldnn(true); }

  static at::ScalarType dtype() { return std::get<1>(GetParam()); }
  static double rounding() { return dtype() == at::kFloat ? kRounding : 5e-3; }
  // Rounded to the dtype, so that only the product's own rounding is left to compare.
  static at::Tensor rounded(const at::Tensor& tensor) { return tensor.to(dtype()); }
  static at::Tensor exact(const at::Tensor& tensor) { return rounded(tensor).to(at::kDouble); }

  static RandomWeights weights(std::int64_t in, std::int64_t out) {
    RandomWeights weights(11);
    weights.add("weight", {out, in});
    weights.add("bias", {out});
    return weights;
  }
  static at::Tensor product(const RandomWeights& weights, const at::Tensor& input) {
    return at::matmul(exact(input), exact(weights.at("weight")).t()) + exact(weights.at("bias"));
  }
};

TEST_P(EveryLinear, IsTheProductAndTheBiasForAnyTokens) {
  const auto& [onednn, dtype, in, out] = GetParam();
  const RandomWeights values = weights(in, out);
  const Linear linear(values.scope(dtype), in, out);
  for (const std::int64_t tokens : {1, 3, 64, 131}) {
    const at::Tensor input = random_tensor(1, {2, tokens, in});
    const at::Tensor result = linear(rounded(input));
    EXPECT_EQ(result.scalar_type(), dtype);
    EXPECT_LT(relative_error(result, product(values, input)), rounding()) << tokens;
    EXPECT_TRUE(at::equal(linear(rounded(input)), result));
  }
  const at::Tensor strided = random_tensor(2, {in, 5}).t();
  EXPECT_LT(relative_error(linear(rounded(strided)), product(values, strided)), rounding());
}

TEST_P(EveryLinear, WritesTwoStackedProductsIntoRowsThatLieApart) {
  const auto& [onednn, dtype, in, out] = GetParam();
  RandomWeights values(11);
  for (const char* half : {"k", "v"}) {
    values.add(std::string(half) + ".weight", {out, in});
    values.add(std::string(half) + ".bias", {out});
  }
  const at::Tensor input = random_tensor(1, {2, 33, in});
  for (const Linear::Bias bias : {Linear::Bias::no, Linear::Bias::yes}) {
    const WeightScope scope = values.scope(dtype);
    const Linear both(scope.scope("k"), scope.scope("v"), in, out, bias);
    std::vector<at::Tensor> expected;
    for (const std::string half : {"k", "v"}) {
      at::Tensor one = at::matmul(exact(input), exact(values.at(half + ".weight")).t());
      if (bias == Linear::Bias::yes) one += exact(values.at(half + ".bias"));
      expected.push_back(one);
    }
    at::Tensor room = at::zeros({2, 40, 2 * out}, at::TensorOptions(dtype));
    at::Tensor rows = room.narrow(1, 4, 33);
    both.write(rounded(input), rows);
    EXPECT_LT(relative_error(rows, at::cat(expected, 2)), rounding());
    EXPECT_LT(relative_error(both(rounded(input)), at::cat(expected, 2)), rounding());
    EXPECT_EQ(room.narrow(1, 0, 4).abs().sum().item<float>(), 0);
    EXPECT_EQ(room.narrow(1, 37, 3).abs().sum().item<float>(), 0);
  }
}

TEST_P(EveryLinear, GatesBlocksOfTokens) {
  const auto& [onednn, dtype, in, out] = GetParam();
  const RandomWeights values = weights(in, 2 * out);
  const Geglu geglu(values.scope(dtype), in, out);
  // More rows than fit a block of 16 MiB.
  const std::int64_t tokens = (std::int64_t{1} << 24) / (8 * out) + 3;
  for (const std::int64_t count : {std::int64_t{5}, tokens}) {
    const at::Tensor input = random_tensor(3, {2, count, in});
    const std::vector<at::Tensor> halves = product(values, input).chunk(2, -1);
    const at::Tensor result = geglu(rounded(input));
    EXPECT_LT(relative_error(result, halves[0] * at::gelu(halves[1])), 2 * rounding()) << count;
  }
}

INSTANTIATE_TEST_SUITE_P(Kinds, EveryLinear,
                         testing::Combine(testing::Bool(),
                                          testing::Values(at::kFloat, at::kBFloat16),
                                          testing::Values(7, 32), testing::Values(160, 321)));

TEST(Geglu, KnowsItsShapeWithoutMemory) {
  const WeightScope shapes = WeightScope::shapes_only();
  constexpr std::int64_t kHuge = 1 << 24;
  const Geglu geglu(shapes, kHuge, kHuge);
  const at::Tensor input = random_tensor(1, {1, 1, 1}).to(at::kMeta).expand({2, 3, kHuge});
  EXPECT_EQ(geglu(input).sizes(), at::IntArrayRef({2, 3, kHuge}));
}

TEST(Linear, HasNoMemoryWhereOnlyShapesAreKnown) {
  const WeightScope shapes = WeightScope::shapes_only();
  constexpr std::int64_t kHuge = 1 << 24;
  const Linear one(shapes, kHuge, kHuge);
  const Linear two(shapes, shapes, kHuge, kHuge, Linear::Bias::no);
}

TEST(LayerNorm, EqualsLibtorchInFloat64) {
  RandomWeights weights(5);
  weights.add("norm.weight", {20}, 1.0);
  weights.add("norm.bias", {20});
  const LayerNorm norm(weights.scope().scope("norm"), 20, 1e-2);
  const at::Tensor input = random_tensor(2, {2, 7, 20}) * 0.3;
  const at::Tensor expected =
      at::layer_norm(input.to(at::kDouble), {20}, weights.at("norm.weight").to(at::kDouble),
                     weights.at("norm.bias").to(at::kDouble), 1e-2);
  EXPECT_LT(relative_error(norm(input), expected), kRounding);
}

TEST(LayerNorm, OfASumLeavesTheSumInItsPlace) {
  RandomWeights weights(5);
  weights.add("weight", {320}, 1.0);
  weights.add("bias", {320});
  const int before = at::get_num_threads();
  for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16}) {
    const LayerNorm norm(weights.scope(dtype), 320, 1e-5);
    const at::Tensor first = random_tensor(2, {2, 300, 320}).to(dtype);
    const at::Tensor addend = random_tensor(3, {2, 300, 320}).to(dtype);
    for (const int threads : {1, 3}) {
      at::set_num_threads(threads);
      const at::Tensor tokens = first.clone();
      const at::Tensor result = norm.of_sum(tokens, addend);
      EXPECT_TRUE(at::equal(tokens, first + addend));
      EXPECT_TRUE(at::equal(result, norm(tokens)));
    }
  }
  at::set_num_threads(before);
}

TEST(LayerNorm, RefusesToSumWhatIsNotLaidOutAlike) {
  RandomWeights weights(5);
  weights.add("weight", {6}, 1.0);
  weights.add("bias", {6});
  const LayerNorm norm(weights.scope(), 6, 1e-5);
  const at::Tensor tokens = random_tensor(2, {1, 6, 6});
  EXPECT_THROW(norm.of_sum(tokens, tokens.transpose(1, 2)), std::logic_error);
  EXPECT_THROW(norm.of_sum(tokens, random_tensor(2, {1, 5, 6})), std::logic_error);
}

}  // namespace
}  // namespace pcpp
