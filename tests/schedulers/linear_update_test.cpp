// Which steps are one multiplication each of sample and prediction, and which add noise.
#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/arange.h>
#include <gtest/gtest.h>

#include <optional>
#include <string>
#include <utility>

#include "schedulers/config_file.h"
#include "schedulers/kinds.h"

namespace pcpp {
namespace {

TEST(SchedulerSteps, LinearUpdatesAreTheSteps) {
  for (const char* name : {"DDIMScheduler", "EulerDiscreteScheduler"}) {
    for (const char* prediction : {"epsilon", "sample", "v_prediction"}) {
      SCOPED_TRACE(std::string(name) + ", " + prediction);
      const auto scheduler =
          scheduler_from(std::string(R"({"clip_sample": false, "_class_name": ")") + name +
                         R"(", "prediction_type": ")" + prediction + "\"}");
      scheduler->set_steps(7);
      const at::Tensor sample = at::arange(24, at::kFloat).sin();
      const at::Tensor noise = at::arange(24, at::kFloat).cos();
      for (int step = 0; step < 7; ++step) {
        const std::optional<LinearUpdate> update = scheduler->linear_update(step);
        ASSERT_TRUE(update);
        at::Tensor next = at::arange(24, at::kFloat);
        guided_step(sample.const_data_ptr<float>(), {noise.const_data_ptr<float>()}, *update, 24,
                    next.mutable_data_ptr<float>());
        SolverState state;
        const at::Tensor expected = scheduler->step(noise, step, sample, state);
        EXPECT_TRUE(next.allclose(expected, 1e-4, 1e-4 * expected.abs().max().item<double>()))
            << step;
      }
    }
  }
}

TEST(SchedulerSteps, OneThatAddsNoiseHasNoLinearUpdate) {
  for (const SchedulerKind kind : kKinds) {
    SCOPED_TRACE(name_of(kind));
    const auto scheduler = scheduler_of_kind(kind, R"(, "clip_sample": false)");
    EXPECT_EQ(scheduler->noisy_steps(), 0);
    scheduler->set_steps(3);
    const bool adds_noise = kind == SchedulerKind::euler_ancestral ||
                            kind == SchedulerKind::dpmpp_2m_sde || kind == SchedulerKind::lcm;
    EXPECT_EQ(scheduler->noisy_steps(), adds_noise ? 2 : 0);
    EXPECT_TRUE(!adds_noise || !scheduler->linear_update(0));
  }
}

// Where a run ends above the least noise of all, the last step adds some too.
TEST(SchedulerSteps, NoisyStepsAreThoseThatReadNoise) {
  const at::Tensor sample = at::arange(24, at::kFloat).sin();
  for (const auto& [more, noisy] :
       {std::pair{R"(, "final_sigmas_type": "sigma_min")", 5},
        {R"(, "final_sigmas_type": "sigma_min", "use_karras_sigmas": true)", 4},
        {"", 4}}) {
    const auto scheduler = scheduler_of_kind(SchedulerKind::dpmpp_2m_sde, more);
    scheduler->set_steps(5);
    EXPECT_EQ(scheduler->noisy_steps(), noisy) << more;
    SolverState state{{}, {}, noises_of(static_cast<std::size_t>(noisy), sample.sizes())};
    for (int step = 0; step < 5; ++step) {
      EXPECT_NO_THROW(scheduler->step(sample, step, sample, state));
    }
  }
}

TEST(SchedulerSteps, AClippedImageIsNoLinearUpdate) {
  for (const char* cut :
       {R"("clip_sample": true)", R"("clip_sample": false, "thresholding": true)"}) {
    const auto scheduler =
        scheduler_from(R"({"_class_name": "DDIMScheduler", )" + std::string(cut) + "}");
    scheduler->set_steps(3);
    EXPECT_FALSE(scheduler->linear_update(0)) << cut;
  }
}

}  // namespace
}  // namespace pcpp
