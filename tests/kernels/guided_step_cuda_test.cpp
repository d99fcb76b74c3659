#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "kernels/guided_step.h"
#include "support/device.h"
#include "support/elements.h"

namespace pcpp {
namespace {

template <typename T>
class GuidedStepOnDevice : public DeviceTest {};
using Elements = testing::Types<float, Float16, Bfloat16>;
TYPED_TEST_SUITE(GuidedStepOnDevice, Elements);

TYPED_TEST(GuidedStepOnDevice, EqualsTheTwin) {
  constexpr LinearUpdate kUpdate{1.02F, -0.31F};
  constexpr float kScale = 7.5F;
  for (const std::int64_t count : {1, 255, 256, 1000}) {
    for (const bool guided : {false, true}) {
      const auto latents = random_values<float>(count, 0.0, 5.0);
      const auto conditional = random_values<TypeParam>(count + 1, 0.0, 1.0);
      const auto unconditional = random_values<TypeParam>(count + 2, 0.0, 1.0);
      std::vector<float> expected(latents.size());
      const std::vector<float> twin_conditional = floats_of(conditional);
      const std::vector<float> twin_unconditional = floats_of(unconditional);
      guided_step(latents.data(),
                  {twin_conditional.data(), guided ? twin_unconditional.data() : nullptr, kScale},
                  kUpdate, count, expected.data());

      DeviceArray<float> device_latents(latents);
      DeviceArray<TypeParam> device_conditional(conditional, 1);
      DeviceArray<TypeParam> device_unconditional(unconditional, 3);
      DeviceArray<float> next(latents.size());
      guided_step<TypeParam>(
          device_latents.data(),
          {device_conditional.data(), guided ? device_unconditional.data() : nullptr, kScale},
          kUpdate, count, next.data(), nullptr);
      const std::vector<float> actual = next.values();
      for (std::size_t i = 0; i < expected.size(); ++i) {
        ASSERT_NEAR(actual[i], expected[i], 1e-6 * (10 + std::abs(expected[i]))) << i;
      }
      guided_step<TypeParam>(
          device_latents.data(),
          {device_conditional.data(), guided ? device_unconditional.data() : nullptr, kScale},
          kUpdate, count, device_latents.data(), nullptr);
      EXPECT_EQ(device_latents.values(), actual);
    }
  }
}

}  // namespace
}  // namespace pcpp
