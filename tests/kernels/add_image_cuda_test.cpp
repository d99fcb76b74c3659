#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <vector>

#include "kernels/add_image.h"
#include "support/device.h"
#include "support/elements.h"

namespace pcpp {
namespace {

template <typename T>
class AddImageOnDevice : public DeviceTest {};
using Elements = testing::Types<float, Float16, Bfloat16>;
TYPED_TEST_SUITE(AddImageOnDevice, Elements);

struct Case {
  std::int64_t pixels;
  std::int64_t channels;
  std::array<std::size_t, 3> offsets{};  // of sum, image and bias from a multiple of 16 bytes
};

TYPED_TEST(AddImageOnDevice, EqualsTheTwin) {
  // Widths of U-Nets, in whole blocks and beyond; several tiles; widths that fill no vector.
  for (const Case& c :
       {Case{9, 320}, Case{33, 1280}, Case{1, 8}, Case{70, 33}, Case{5, 2560}, Case{1, 1},
        Case{7, 64, {1, 0, 0}}, Case{7, 64, {0, 1, 0}}, Case{7, 64, {0, 0, 1}}}) {
    const auto sum = random_values<TypeParam>(c.pixels * c.channels, 0.0, 2.0);
    const auto image = random_values<TypeParam>(c.pixels * c.channels, 5.0, 1.0);
    const auto bias = random_values<TypeParam>(c.channels, -3.0, 1.0);
    std::vector<float> expected = floats_of(sum);
    add_image(expected.data(), floats_of(image).data(), floats_of(bias).data(), c.pixels,
              c.channels);

    DeviceArray<TypeParam> device_sum(sum, c.offsets[0]);
    DeviceArray<TypeParam> device_image(image, c.offsets[1]);
    DeviceArray<TypeParam> device_bias(bias, c.offsets[2]);
    add_image<TypeParam>(device_sum.data(), device_image.data(), device_bias.data(), c.pixels,
                         c.channels, nullptr);
    const std::vector<float> actual = floats_of(device_sum.values());
    for (std::size_t i = 0; i < expected.size(); ++i) {
      ASSERT_NEAR(actual[i], expected[i], kRounding<TypeParam> * std::abs(expected[i]) + 1e-6)
          << c.pixels << " x " << c.channels << ", element " << i;
    }
  }
}

}  // namespace
}  // namespace pcpp
