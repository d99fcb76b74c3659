#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "kernels/group_norm.h"
#include "support/device.h"
#include "support/elements.h"

namespace pcpp {
namespace {

constexpr double kEpsilon = 1e-5;

struct Case {
  std::int64_t batch;
  std::int64_t pixels;
  std::int64_t channels;
  std::int64_t groups;
  std::size_t offset = 0;  // elements from a multiple of 16 bytes

  std::int64_t elements() const { return batch * pixels * channels; }
  std::int64_t group_channels() const { return channels / groups; }
};

std::ostream& operator<<(std::ostream& stream, const Case& c) {
  return stream << "[" << c.batch << ", " << c.pixels << ", " << c.channels << "] in " << c.groups
                << " groups, " << c.offset << " elements off";
}

// Widths of U-Nets; groups that end within a vector and across tiles; channels that fill no vector;
// memory that begins within one; several slices, whole and ragged, and more than a warp reduces.
// Small ones come first, as emulated blocks take their time.
const std::vector<Case> kCases = {
    {1, 1, 1, 1},         {1, 3, 17, 17},    {1, 1, 64, 32},  {2, 9, 24, 8, 4},  {2, 70, 30, 3},
    {1, 110, 320, 32, 1}, {1, 17, 2560, 1},  {2, 820, 40, 4}, {1, 35, 1920, 32}, {1, 33, 2060, 5},
    {1, 60, 1280, 32},    {2, 210, 320, 32}, {1, 70, 2061, 1}};

template <typename T>
class GroupNormOnDevice : public DeviceTest {};
using Elements = testing::Types<float, Float16, Bfloat16>;
TYPED_TEST_SUITE(GroupNormOnDevice, Elements);

// What is added to the pixels of each item.
template <typename T>
struct Offsets {
  Offsets(const Case& c, double mean, bool one)
      : stride(one ? 0 : c.channels + 3),
        values(random_values<T>(c.batch * (c.channels + 3), mean, 2.0)),
        floats(floats_of(values)) {}

  const float* of_item(std::int64_t item) const { return floats.data() + item * stride; }

  std::int64_t stride;
  std::vector<T> values;
  std::vector<float> floats;
};

template <typename T>
std::vector<double> twin_moments(const std::vector<float>& input, const Offsets<T>* offsets,
                                 const Case& c) {
  std::vector<double> moments(static_cast<std::size_t>(2 * c.batch * c.groups));
  for (std::int64_t item = 0; item < c.batch; ++item) {
    group_sums(input.data() + item * c.pixels * c.channels,
               offsets == nullptr ? nullptr : offsets->of_item(item), c.pixels, c.channels,
               c.groups, moments.data() + item * 2 * c.groups);
  }
  for (double& moment : moments) moment /= static_cast<double>(c.pixels * c.group_channels());
  return moments;
}

template <typename T>
std::vector<double> device_moments(const std::vector<T>& input, const Offsets<T>* offsets,
                                   const Case& c) {
  DeviceArray<T> device(input, c.offset);
  DeviceArray<T> device_offsets(offsets == nullptr ? std::vector<T>(1) : offsets->values);
  const Offset<T> offset =
      offsets == nullptr ? Offset<T>{} : Offset<T>{device_offsets.data(), offsets->stride};
  DeviceArray<std::byte> workspace(
      group_moments_workspace_bytes(c.batch, c.pixels, c.channels, c.groups));
  DeviceArray<double> moments(static_cast<std::size_t>(2 * c.batch * c.groups));
  group_moments(device.data(), offset, c.batch, c.pixels, c.channels, c.groups, workspace.data(),
                moments.data(), nullptr);
  return moments.values();
}

template <typename T>
void expect_moments_equal_twins(const Case& c, const Offsets<T>* offsets) {
  const auto input = random_values<T>(c.elements(), 100.0, 1.0);
  const std::vector<double> expected = twin_moments(floats_of(input), offsets, c);
  const std::vector<double> actual = device_moments(input, offsets, c);
  for (std::size_t i = 0; i < expected.size(); i += 2) {
    const double variance = expected[i + 1] - expected[i] * expected[i];
    ASSERT_NEAR(actual[i], expected[i], 1e-6 * std::sqrt(variance) + 1e-11) << c;
    ASSERT_NEAR(actual[i + 1] - actual[i] * actual[i], variance, 2e-6 * variance + 1e-9) << c;
  }
}

// A mean far from zero: sums of plain squares in float32 would lose the variance.
TYPED_TEST(GroupNormOnDevice, MomentsEqualTheTwins) {
  for (const Case& c : kCases) {
    expect_moments_equal_twins<TypeParam>(c, nullptr);
    const Offsets<TypeParam> offsets(c, 3.0, c.groups == 32);
    expect_moments_equal_twins(c, &offsets);
  }
}

// A slice has a sum and a sum of squares in the workspace.
TEST(GroupNormSlices, AreManyInSmallImagesAndShortInLargeOnes) {
  const auto slices = [](std::int64_t batch, std::int64_t pixels) {
    return group_moments_workspace_bytes(batch, pixels, 64, 1) /
           (2 * sizeof(double) * static_cast<std::size_t>(batch));
  };
  EXPECT_EQ(slices(1, 1), 1U);
  EXPECT_EQ(slices(2, 4096), 32U);  // of 128 pixels: four for each thread
  EXPECT_EQ(slices(2, 1 << 16), 256U);
  EXPECT_EQ(slices(1, 1 << 16), 512U);
  EXPECT_EQ(slices(2, 1 << 20), 2048U);  // of 512 pixels
}

TYPED_TEST(GroupNormOnDevice, MomentsAreTheSameBitsEveryTime) {
  const Case c{2, 210, 320, 32};
  const auto input = random_values<TypeParam>(c.elements(), 1.0, 1.0);
  const Offsets<TypeParam>* none = nullptr;
  EXPECT_EQ(device_moments(input, none, c), device_moments(input, none, c));
}

struct Around {
  std::int64_t padding_pixels = 0;
  std::size_t output_offset = 0;  // elements from a multiple of 16 bytes
};

// The padded result, in exact copies of T's elements.
template <typename T>
std::vector<T> device_apply(const Case& c, const Around& around, bool silu,
                            const std::vector<T>& input, const Offsets<T>& offsets,
                            const std::vector<double>& moments, const std::vector<float>& weight,
                            const std::vector<float>& bias) {
  DeviceArray<T> device(input, c.offset);
  DeviceArray<T> device_offsets(offsets.values);
  DeviceArray<double> device_moments(moments);
  DeviceArray<float> device_weight(weight, 1);
  DeviceArray<float> device_bias(bias, 1);
  const std::int64_t pixels = c.pixels + 2 * around.padding_pixels;
  DeviceArray<T> output(static_cast<std::size_t>(c.batch * pixels * c.channels),
                        around.output_offset);
  group_norm_apply<T>(
      device.data(), {device_offsets.data(), offsets.stride}, output.data(), c.batch, c.pixels,
      c.channels,
      {device_moments.data(), device_weight.data(), device_bias.data(), c.groups, kEpsilon, silu},
      around.padding_pixels, nullptr);
  return output.values();
}

// One item, normalised by the twin in float32.
std::vector<float> twin_apply(const Case& c, bool silu, const float* input, const float* offset,
                              const double* moments, const std::vector<float>& weight,
                              const std::vector<float>& bias) {
  std::vector<float> values(static_cast<std::size_t>(3 * c.channels));
  float* centre = values.data();
  float* scale = centre + c.channels;
  float* shift = scale + c.channels;
  group_norm_coefficients(moments, offset, weight.data(), bias.data(), c.channels, c.groups,
                          kEpsilon, centre, scale, shift);
  std::vector<float> output(static_cast<std::size_t>(c.pixels * c.channels));
  group_norm_apply(input, output.data(), c.pixels, c.channels, {centre, scale, shift}, silu);
  return output;
}

template <typename T>
void expect_apply_equals_twin(const Case& c, const Around& around, double mean, bool silu) {
  const auto input = random_values<T>(c.elements(), mean, 2.0);
  const auto weight = random_values<float>(c.channels, 1.0, 0.5);
  const auto bias = random_values<float>(c.channels + 1, 0.0, 0.5);
  const std::vector<float> floats = floats_of(input);
  const Offsets<T> offsets(c, 1.0, silu);
  const std::vector<double> moments = twin_moments(floats, &offsets, c);
  const std::vector<float> actual =
      floats_of(device_apply(c, around, silu, input, offsets, moments, weight, bias));

  auto next = actual.begin();
  const auto expect_zeros = [&] {
    for (std::int64_t i = 0; i < around.padding_pixels * c.channels; ++i, ++next) {
      ASSERT_EQ(*next, 0.0F) << c << ", element " << next - actual.begin();
    }
  };
  for (std::int64_t item = 0; item < c.batch; ++item) {
    expect_zeros();
    for (const float expected :
         twin_apply(c, silu, floats.data() + item * c.pixels * c.channels, offsets.of_item(item),
                    moments.data() + item * 2 * c.groups, weight, bias)) {
      ASSERT_NEAR(*next, expected,
                  kRounding<T> * std::abs(expected) + 2e-6 * (1 + std::abs(expected)))
          << c << ", element " << next - actual.begin();
      ++next;
    }
    expect_zeros();
  }
}

TYPED_TEST(GroupNormOnDevice, ApplyEqualsTheTwin) {
  for (const Case& c : kCases) {
    const bool silu = c.batch == 1;
    expect_apply_equals_twin<TypeParam>(c, {}, silu ? 0.0 : 100.0, silu);
  }
}

// That of the input: kCases.
TYPED_TEST(GroupNormOnDevice, ApplyLooksAtTheAlignmentOfTheOutput) {
  const Case c{1, 12, 64, 32};
  expect_apply_equals_twin<TypeParam>(c, {2, 1}, 0.0, true);
}

TYPED_TEST(GroupNormOnDevice, ApplyWritesZerosAround) {
  for (const Case& c : {Case{2, 210, 320, 32}, Case{2, 12, 30, 3}, Case{1, 110, 320, 32, 1}}) {
    expect_apply_equals_twin<TypeParam>(c, {11}, 0.0, true);
    // Beyond the first slice, too: 24 pixels at 320 channels.
    expect_apply_equals_twin<TypeParam>(c, {130}, 0.0, false);
  }
}

}  // namespace
}  // namespace pcpp
