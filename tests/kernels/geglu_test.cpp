#include "kernels/geglu.h"

#include <gtest/gtest.h>

#include <cmath>
#include <utility>
#include <vector>

#include "support/elements.h"

namespace pcpp {
namespace {

double reference(double value, double gate) {
  return value * gate * 0.5 * std::erfc(-gate / std::sqrt(2.0));
}

// Gates over the whole range where the result is more than nothing, by value.
std::vector<float> rows_of(std::int64_t rows, std::int64_t width) {
  std::vector<float> input;
  for (std::int64_t i = 0; i < rows * width * 2; ++i) {
    const bool is_gate = i / width % 2 == 1;
    const auto part = static_cast<float>(i * 37 % 1009) / 1009.0F;
    input.push_back(is_gate ? -9.0F + 21.0F * part : 3.0F * part - 1.0F);
  }
  return input;
}

// Every remainder of a vector.
const std::vector<std::pair<std::int64_t, std::int64_t>> kSizes = {{1, 1},  {3, 7},    {2, 16},
                                                                   {5, 33}, {40, 129}, {0, 8}};

TEST(Geglu, EqualsTheErrorFunctionInFloat64) {
  for (const auto& [rows, width] : kSizes) {
    const std::vector<float> input = rows_of(rows, width);
    std::vector<float> output(static_cast<std::size_t>(rows * width));
    geglu(input.data(), output.data(), rows, width);
    for (std::int64_t i = 0; i < rows * width; ++i) {
      const auto value = static_cast<std::size_t>(i / width * 2 * width + i % width);
      const double expected =
          reference(input[value], input[value + static_cast<std::size_t>(width)]);
      EXPECT_NEAR(output[static_cast<std::size_t>(i)], expected, 8e-6 * std::abs(expected));
    }
  }
}

TEST(Geglu, RoundsOnceToBfloat16) {
  for (const auto& [rows, width] : kSizes) {
    std::vector<Bfloat16> input;
    for (const float value : rows_of(rows, width)) input.push_back(element_of<Bfloat16>(value));
    std::vector<Bfloat16> output(static_cast<std::size_t>(rows * width));
    geglu(input.data(), output.data(), rows, width);
    for (std::int64_t i = 0; i < rows * width; ++i) {
      const auto value = static_cast<std::size_t>(i / width * 2 * width + i % width);
      const double expected = reference(float_of(input[value]),
                                        float_of(input[value + static_cast<std::size_t>(width)]));
      EXPECT_NEAR(float_of(output[static_cast<std::size_t>(i)]), expected,
                  std::ldexp(1.01, -8) * std::abs(expected));
    }
  }
}

TEST(Geglu, KeepsWhatIsFarAway) {
  const std::vector<float> input = {2.0F, 2.0F, 2.0F, 2.0F, 1e30F, -1e30F, 0.0F, NAN};
  std::vector<float> output(4);
  geglu(input.data(), output.data(), 1, 4);
  EXPECT_EQ(output[0], 2e30F);
  EXPECT_NEAR(output[1], 0.0F, 1e-5);
  EXPECT_EQ(output[2], 0.0F);
  EXPECT_TRUE(std::isnan(output[3]));
}

}  // namespace
}  // namespace pcpp
