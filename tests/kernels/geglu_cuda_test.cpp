#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "kernels/geglu.h"
#include "support/device.h"
#include "support/elements.h"

namespace pcpp {
namespace {

template <typename T>
class GegluOnDevice : public DeviceTest {};
using Elements = testing::Types<float, Float16, Bfloat16>;
TYPED_TEST_SUITE(GegluOnDevice, Elements);

struct Case {
  std::int64_t rows;
  std::int64_t width;
  std::size_t offset = 0;  // elements from a multiple of 16 bytes
};

TYPED_TEST(GegluOnDevice, EqualsTheTwin) {
  // A width of U-Nets, in whole blocks and beyond; several tiles; widths that fill no vector.
  for (const Case& c : {Case{8, 1280}, Case{33, 320}, Case{1, 8}, Case{5, 5120}, Case{70, 33},
                        Case{3, 300}, Case{1, 1}, Case{9, 64, 1}}) {
    const auto input = random_values<TypeParam>(2 * c.rows * c.width, 0.0, 2.5);
    const std::vector<float> twin_input = floats_of(input);
    std::vector<float> expected(static_cast<std::size_t>(c.rows * c.width));
    geglu(twin_input.data(), expected.data(), c.rows, c.width);

    DeviceArray<TypeParam> device_input(input, c.offset);
    DeviceArray<TypeParam> output(expected.size(), c.offset);
    geglu(device_input.data(), output.data(), c.rows, c.width, nullptr);
    const std::vector<float> actual = floats_of(output.values());
    for (std::size_t i = 0; i < expected.size(); ++i) {
      ASSERT_NEAR(actual[i], expected[i], kRounding<TypeParam> * std::abs(expected[i]) + 2e-5)
          << c.rows << " x " << c.width << ", element " << i;
    }
  }
}

}  // namespace
}  // namespace pcpp
