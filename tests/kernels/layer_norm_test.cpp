#include "kernels/layer_norm.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "support/elements.h"

namespace pcpp {
namespace {

constexpr float kEpsilon = 1e-5F;

// The definition, in float64, of one row.
std::vector<double> normalised(const std::vector<double>& row, const std::vector<float>& weight,
                               const std::vector<float>& bias) {
  const auto count = static_cast<double>(row.size());
  double mean = 0;
  for (const double x : row) mean += x / count;
  double variance = 0;
  for (const double x : row) variance += (x - mean) * (x - mean) / count;
  std::vector<double> result;
  for (std::size_t i = 0; i < row.size(); ++i) {
    result.push_back((row[i] - mean) / std::sqrt(variance + double{kEpsilon}) * double{weight[i]} +
                     double{bias[i]});
  }
  return result;
}

template <typename T>
class LayerNormKernel : public testing::Test {};
using Elements = testing::Types<float, Bfloat16>;
TYPED_TEST_SUITE(LayerNormKernel, Elements);

TYPED_TEST(LayerNormKernel, EqualsTheDefinitionInFloat64) {
  constexpr std::int64_t kRows = 3;
  for (const std::int64_t width : {1, 2, 31, 32, 33, 64, 320, 1281}) {
    for (const double mean : {0.0, 100.0}) {
      const auto input = random_values<TypeParam>(kRows * width, mean, 2.0);
      const auto weight = random_values<float>(width, 1.0, 0.5);
      const auto bias = random_values<float>(width + 1, 0.0, 0.5);
      std::vector<TypeParam> output(input.size());
      layer_norm({input.data(), nullptr, nullptr, output.data(), width}, kRows,
                 {weight.data(), bias.data(), kEpsilon});
      for (std::int64_t row = 0; row < kRows; ++row) {
        std::vector<double> exact_row;
        for (std::int64_t i = 0; i < width; ++i) {
          exact_row.push_back(exact(input[static_cast<std::size_t>(row * width + i)]));
        }
        const std::vector<double> expected = normalised(exact_row, weight, bias);
        for (std::int64_t i = 0; i < width; ++i) {
          const double y = expected[static_cast<std::size_t>(i)];
          ASSERT_NEAR(exact(output[static_cast<std::size_t>(row * width + i)]), y,
                      2 * kRounding<TypeParam> * std::abs(y) + 4e-7 * (10 + mean))
              << width << " wide, mean " << mean << ", element " << i;
        }
      }
    }
  }
}

TYPED_TEST(LayerNormKernel, NormalisesTheSumAsItIsStored) {
  constexpr std::int64_t kRows = 5;
  constexpr std::int64_t kWidth = 67;
  const auto input = random_values<TypeParam>(kRows * kWidth, 1.0, 2.0);
  const auto addend = random_values<TypeParam>(kRows * kWidth, -3.0, 1.0);
  const auto weight = random_values<float>(kWidth, 1.0, 0.5);
  const auto bias = random_values<float>(kWidth, 0.0, 0.5);
  const LayerNormalisation norm{weight.data(), bias.data(), kEpsilon};
  std::vector<TypeParam> sum = input;  // in place
  std::vector<TypeParam> output(input.size());
  layer_norm({sum.data(), addend.data(), sum.data(), output.data(), kWidth}, kRows, norm);
  for (std::size_t i = 0; i < input.size(); ++i) {
    const double expected = exact(input[i]) + exact(addend[i]);
    ASSERT_NEAR(exact(sum[i]), expected, kRounding<TypeParam> * std::abs(expected) + 1e-7) << i;
  }
  std::vector<TypeParam> of_stored(input.size());
  layer_norm({sum.data(), nullptr, nullptr, of_stored.data(), kWidth}, kRows, norm);
  EXPECT_EQ(floats_of(output), floats_of(of_stored));
}

}  // namespace
}  // namespace pcpp
