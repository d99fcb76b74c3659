#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <vector>

#include "kernels/layer_norm.h"
#include "support/device.h"
#include "support/elements.h"

namespace pcpp {
namespace {

constexpr float kEpsilon = 1e-5F;

template <typename T>
class LayerNormOnDevice : public DeviceTest {};
using Elements = testing::Types<float, Float16, Bfloat16>;
TYPED_TEST_SUITE(LayerNormOnDevice, Elements);

struct Case {
  std::int64_t rows;
  std::int64_t width;
  // Elements of input, addend, sum, output, weight and bias from a multiple of 16 bytes.
  std::array<std::size_t, 6> offsets{};
};

template <typename T>
void expect_equals_twin(const Case& c, bool with_addend, bool in_place) {
  const auto input = random_values<T>(c.rows * c.width, 2.0, 3.0);
  const auto addend = random_values<T>(c.rows * c.width, 0.5, 1.0);
  const auto weight = random_values<float>(c.width, 1.0, 0.5);
  const auto bias = random_values<float>(c.width + 1, 0.0, 0.5);
  DeviceArray<T> device_input(input, c.offsets[0]);
  DeviceArray<T> device_addend(addend, c.offsets[1]);
  DeviceArray<T> device_sum(input.size(), c.offsets[2]);
  DeviceArray<T> device_output(input.size(), c.offsets[3]);
  DeviceArray<float> device_weight(weight, c.offsets[4]);
  DeviceArray<float> device_bias(bias, c.offsets[5]);
  T* sum = in_place ? device_input.data() : device_sum.data();
  layer_norm<T>({device_input.data(), with_addend ? device_addend.data() : nullptr,
                 with_addend ? sum : nullptr, device_output.data(), c.width},
                c.rows, {device_weight.data(), device_bias.data(), kEpsilon}, nullptr);

  std::vector<float> x = floats_of(input);
  if (with_addend) {
    const std::vector<float> added = floats_of(addend);
    const std::vector<float> stored =
        floats_of(in_place ? device_input.values() : device_sum.values());
    for (std::size_t i = 0; i < x.size(); ++i) {
      ASSERT_NEAR(stored[i], x[i] + added[i], kRounding<T> * std::abs(x[i] + added[i])) << i;
    }
    x = stored;  // what is normalised
  }
  std::vector<float> expected(x.size());
  layer_norm({x.data(), nullptr, nullptr, expected.data(), c.width}, c.rows,
             {weight.data(), bias.data(), kEpsilon});
  const std::vector<float> actual = floats_of(device_output.values());
  for (std::size_t i = 0; i < expected.size(); ++i) {
    ASSERT_NEAR(actual[i], expected[i], kRounding<T> * std::abs(expected[i]) + 4e-6)
        << c.rows << " x " << c.width << ", element " << i;
  }
}

// Widths of U-Nets; rows that end within a block; lanes without a vector; widths that fill none,
// and rows wider than a warp keeps.
TYPED_TEST(LayerNormOnDevice, EqualsTheTwin) {
  for (const Case& c : {Case{9, 320}, Case{3, 1280}, Case{1, 8}, Case{17, 24}, Case{2, 33},
                        Case{1, 1}, Case{2, 2568}, Case{3, 401}}) {
    expect_equals_twin<TypeParam>(c, false, false);
    expect_equals_twin<TypeParam>(c, true, false);
    expect_equals_twin<TypeParam>(c, true, true);
  }
}

TYPED_TEST(LayerNormOnDevice, LooksAtTheAlignmentOfEachPointer) {
  for (std::size_t pointer = 0; pointer < 6; ++pointer) {
    Case c{3, 64};
    c.offsets[pointer] = 1;
    expect_equals_twin<TypeParam>(c, true, false);
  }
}

}  // namespace
}  // namespace pcpp
