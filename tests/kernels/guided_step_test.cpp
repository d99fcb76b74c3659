#include "kernels/guided_step.h"

#include <gtest/gtest.h>

#include <vector>

namespace pcpp {
namespace {

const std::vector<float> kLatents = {1, -2, 4};
const std::vector<float> kConditional = {3, 5, -1};
const std::vector<float> kUnconditional = {1, 4, 1};

TEST(GuidedStep, UpdatesByTheGuidedPrediction) {
  std::vector<float> next(3);
  guided_step(kLatents.data(), {kConditional.data(), kUnconditional.data(), 2.0F}, {0.5F, -1.0F}, 3,
              next.data());
  EXPECT_EQ(next, (std::vector<float>{-4.5F, -7.0F, 5.0F}));
}

TEST(GuidedStep, WithoutAnUnconditionalPredictionThereIsNoGuidance) {
  std::vector<float> latents = kLatents;
  guided_step(latents.data(), {kConditional.data(), nullptr, 9.0F}, {0.5F, -1.0F}, 3,
              latents.data());
  EXPECT_EQ(latents, (std::vector<float>{-2.5F, -6.0F, 3.0F}));
}

}  // namespace
}  // namespace pcpp
