#include "kernels/group_norm.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>
#include <vector>

#include "support/elements.h"

namespace pcpp {
namespace {

struct Case {
  std::int64_t pixels;
  std::int64_t channels;
  std::int64_t groups;
};

// Every remainder of a vector, of the unrolling and of a tile of channels.
const std::vector<Case> kCases = {{1, 1, 1},    {7, 6, 3},     {128, 64, 32}, {129, 33, 11},
                                  {66, 515, 5}, {5, 1280, 32}, {30, 96, 1},   {3, 17, 17}};

// [groups, 2] of the mean and the mean of squares, in more digits than the kernel has.
template <typename T>
std::vector<double> reference_moments(const std::vector<T>& input, const float* offset,
                                      const Case& c) {
  std::vector<long double> sums(static_cast<std::size_t>(2 * c.groups));
  for (std::size_t i = 0; i < input.size(); ++i) {
    const std::int64_t channel = static_cast<std::int64_t>(i) % c.channels;
    const auto group = static_cast<std::size_t>(channel / (c.channels / c.groups));
    const long double added = offset == nullptr ? 0 : exact(offset[channel]);
    const long double x = exact(input[i]) + added;
    sums[2 * group] += x;
    sums[2 * group + 1] += x * x;
  }
  const auto count = static_cast<long double>(c.pixels * (c.channels / c.groups));
  std::vector<double> moments;
  for (const long double sum : sums) moments.push_back(static_cast<double>(sum / count));
  return moments;
}

template <typename T>
class GroupNormKernel : public testing::Test {};
using Elements = testing::Types<float, Bfloat16>;
TYPED_TEST_SUITE(GroupNormKernel, Elements);

TYPED_TEST(GroupNormKernel, SumsAreExactForAnyMeanAndOffset) {
  for (const Case& c : kCases) {
    for (const double mean : {0.0, 1.0, 1e4}) {
      const auto input = random_values<TypeParam>(c.pixels * c.channels, mean, 1.0);
      const auto offset = random_values<float>(c.channels, -mean, 2.0);
      const auto count = static_cast<double>(c.pixels * (c.channels / c.groups));
      for (const float* added : {static_cast<const float*>(nullptr), offset.data()}) {
        std::vector<double> sums(static_cast<std::size_t>(2 * c.groups), -1.0);
        group_sums(input.data(), added, c.pixels, c.channels, c.groups, sums.data());
        const std::vector<double> expected = reference_moments(input, added, c);
        for (std::size_t i = 0; i < sums.size(); ++i) {
          EXPECT_NEAR(sums[i] / count, expected[i], 1e-13 * (1 + mean * mean)) << c.channels;
        }
      }
    }
  }
}

TYPED_TEST(GroupNormKernel, NoPixelsHaveSumsOfZero) {
  std::vector<double> sums(4, 1.0);
  group_sums(static_cast<const TypeParam*>(nullptr), nullptr, 0, 6, 2, sums.data());
  EXPECT_EQ(sums, std::vector<double>(4, 0.0));
}

// The result of the kernel for one case, and the exact one.
template <typename T>
void run(const Case& c, double mean, bool silu, bool with_offset, std::vector<T>& output,
         std::vector<double>& expected) {
  constexpr double kEpsilon = 1e-5;
  const auto input = random_values<T>(c.pixels * c.channels, mean, 2.0);
  const auto weight = random_values<float>(c.channels, 1.0, 0.5);
  const auto bias = random_values<float>(c.channels + 1, 0.0, 0.5);
  const auto offsets = random_values<float>(c.channels, -mean, 2.0);
  const float* offset = with_offset ? offsets.data() : nullptr;
  const std::vector<double> moments = reference_moments(input, offset, c);
  std::vector<float> values(static_cast<std::size_t>(3 * c.channels));
  float* centre = values.data();
  float* scale = centre + c.channels;
  float* shift = scale + c.channels;
  group_norm_coefficients(moments.data(), offset, weight.data(), bias.data(), c.channels, c.groups,
                          kEpsilon, centre, scale, shift);
  output.resize(input.size());
  group_norm_apply(input.data(), output.data(), c.pixels, c.channels, {centre, scale, shift}, silu);
  expected.clear();
  for (std::size_t i = 0; i < input.size(); ++i) {
    const std::size_t channel = i % static_cast<std::size_t>(c.channels);
    const std::size_t group = channel / static_cast<std::size_t>(c.channels / c.groups);
    const double variance = moments[2 * group + 1] - moments[2 * group] * moments[2 * group];
    const double x = exact(input[i]) + (with_offset ? exact(offset[channel]) : 0);
    const double y = (x - moments[2 * group]) / std::sqrt(std::max(variance, 0.0) + kEpsilon) *
                         exact(weight[channel]) +
                     exact(bias[channel]);
    expected.push_back(silu ? y / (1 + std::exp(-y)) : y);
  }
}

TEST(GroupNormApply, Float32IsWithinRoundingForAnyMean) {
  for (const Case& c : kCases) {
    for (const double mean : {0.0, 1.0, 1e4}) {
      for (const bool silu : {false, true}) {
        std::vector<float> output;
        std::vector<double> expected;
        run(c, mean, silu, false, output, expected);
        for (std::size_t i = 0; i < output.size(); ++i) {
          ASSERT_NEAR(output[i], expected[i], 1e-6 * (1 + std::abs(expected[i])))
              << c.channels << " channels, mean " << mean << ", element " << i;
        }
      }
    }
  }
}

TEST(GroupNormApply, Bfloat16IsWithinItsOwnRounding) {
  for (const Case& c : kCases) {
    for (const bool silu : {false, true}) {
      std::vector<Bfloat16> output;
      std::vector<double> expected;
      run(c, 1.0, silu, silu, output, expected);
      for (std::size_t i = 0; i < output.size(); ++i) {
        // Half a unit in the last of 8 binary places, and float32's rounding before it.
        ASSERT_NEAR(exact(output[i]), expected[i], std::abs(expected[i]) / 256 + 2e-6) << i;
      }
    }
  }
}

// The mean that the offset takes away is in the input's rounding: 1e-7 of it in float32.
TEST(GroupNormApply, AddsTheOffset) {
  for (const Case& c : kCases) {
    for (const double mean : {0.0, 100.0}) {
      std::vector<float> output;
      std::vector<double> expected;
      run(c, mean, true, true, output, expected);
      for (std::size_t i = 0; i < output.size(); ++i) {
        ASSERT_NEAR(output[i], expected[i], 1e-6 * (1 + std::abs(expected[i])))
            << c.channels << " channels, mean " << mean << ", element " << i;
      }
    }
  }
}

// y = x for one channel: what remains is the activation.
std::vector<float> activated(const std::vector<float>& input) {
  const float centre = 0;
  const float scale = 1;
  const float shift = 0;
  std::vector<float> output(input.size());
  group_norm_apply(input.data(), output.data(), static_cast<std::int64_t>(input.size()), 1,
                   {&centre, &scale, &shift}, true);
  return output;
}

TEST(GroupNormApply, SiluHoldsItsRelativeErrorEverywhere) {
  std::vector<float> input;
  for (float x = -86; x < 100; x += 0.0137F) input.push_back(x);
  const std::vector<float> output = activated(input);
  for (std::size_t i = 0; i < input.size(); ++i) {
    const double x = exact(input[i]);
    const double expected = x / (1 + std::exp(-x));
    ASSERT_NEAR(output[i], expected, 3e-7 * std::abs(expected)) << x;
  }
}

TEST(GroupNormApply, SiluOfExtremes) {
  const float infinity = std::numeric_limits<float>::infinity();
  const std::vector<float> output =
      activated({0.0F, -1000.0F, 1000.0F, infinity, std::numeric_limits<float>::quiet_NaN()});
  EXPECT_EQ(output[0], 0.0F);
  EXPECT_NEAR(output[1], 0.0F, 1e-30F);
  EXPECT_EQ(output[2], 1000.0F);
  EXPECT_EQ(output[3], infinity);
  EXPECT_TRUE(std::isnan(output[4]));
}

TEST(GroupNormApply, Bfloat16RoundsTiesToEven) {
  // 1 + 2^-8 lies between 1 and 1 + 2^-7, 1 + 3 * 2^-8 between the latter and 1 + 2^-6.
  const Bfloat16 one{0x3F80};
  const float centre = 0;
  const float scale = 1;
  Bfloat16 output;
  for (const auto& [shift, bits] : std::vector<std::pair<float, std::uint16_t>>{
           {0x1p-8F, 0x3F80},
           {0x1.002p-8F, 0x3F81},
           {0x3p-8F, 0x3F82},
           {std::numeric_limits<float>::quiet_NaN(), 0x7FC0}}) {
    group_norm_apply(&one, &output, 1, 1, {&centre, &scale, &shift}, false);
    EXPECT_EQ(output.bits, bits) << shift;
  }
}

TEST(GroupNormApply, WorksInPlace) {
  auto values = random_values<float>(64 * 24, 0.0, 3.0);
  const std::vector<float> centre(24, 0.5F);
  const std::vector<float> scale(24, 2.0F);
  const std::vector<float> shift(24, 0.25F);
  const ChannelCoefficients coefficients{centre.data(), scale.data(), shift.data()};
  std::vector<float> expected(values.size());
  group_norm_apply(values.data(), expected.data(), 64, 24, coefficients, true);
  group_norm_apply(values.data(), values.data(), 64, 24, coefficients, true);
  EXPECT_EQ(values, expected);
}

TEST(GroupNormCoefficients, NegativeVarianceCountsAsZero) {
  const double moments[] = {2.0, 3.0};  // 3 < 2^2
  const float one = 1;
  const float zero = 0;
  float centre = 0;
  float scale = 0;
  float shift = 1;
  group_norm_coefficients(moments, nullptr, &one, &zero, 1, 1, 0.25, &centre, &scale, &shift);
  EXPECT_EQ(centre, 2.0F);
  EXPECT_EQ(scale, 2.0F);
  EXPECT_EQ(shift, 0.0F);
}

}  // namespace
}  // namespace pcpp
