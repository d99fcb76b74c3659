// Every run of tests/data/schedulers against diffusers' numbers.
#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/tensor.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "pcpp/error.h"
#include "schedulers/config_file.h"
#include "schedulers/kinds.h"

namespace pcpp {
namespace {

// The same float32 operations in the same order: all but logarithms, powers and exponentials, whose
// last bit differs between numpy's and the C library's, come out equal.
constexpr double kTolerance = 1e-6;
// What one step rounds the next one's noise does not forget: 1.5e-6 was seen after hundreds, and
// 7.2e-6 where a run begins at a noise level of 4096, on a processor without AVX-512, for which
// libtorch's functions round otherwise than where the references were made.
constexpr double kNoisyTolerance = 1e-5;
// UniPC of order 3 solves equations for its coefficients: 2.8e-6 was seen.
constexpr double kUniPcTolerance = 4e-6;

nlohmann::json reference(const std::string& name) {
  std::ifstream file(std::string(PCPP_TEST_DATA) + "/schedulers/" + name + ".json");
  return nlohmann::json::parse(file);
}

at::Tensor tensor_of(const nlohmann::json& values, const nlohmann::json& shape) {
  return at::tensor(values.get<std::vector<float>>(), at::kFloat)
      .reshape(shape.get<std::vector<std::int64_t>>());
}

double relative_error(const at::Tensor& actual, const at::Tensor& expected) {
  return ((actual - expected).norm() / expected.norm()).item<double>();
}

// prediction_of in tests/reference/scheduler_make.py.
at::Tensor prediction_of(const at::Tensor& scaled, double timestep) {
  const at::Tensor ramp = at::arange(scaled.numel(), at::kFloat).sin().reshape(scaled.sizes());
  return scaled.tanh() * (0.6 * std::cos(timestep / 100)) + ramp * 0.1;
}

std::unique_ptr<Scheduler> scheduler_of(const nlohmann::json& run) {
  std::optional<SchedulerKind> kind;
  if (!run["kind"].is_null()) {
    for (const SchedulerKind each : kKinds) {
      if (run["kind"] == name_of(each)) kind = each;
    }
  }
  return scheduler_from(run["config"].dump(), {kind},
                        run["mend"] == true ? OutdatedValues::mend : OutdatedValues::keep);
}

void expect_plan(const Scheduler& scheduler, const nlohmann::json& run) {
  const auto expected = run["timesteps"].get<std::vector<double>>();
  const bool whole = scheduler.kind() != SchedulerKind::euler &&
                     scheduler.kind() != SchedulerKind::euler_ancestral;
  ASSERT_EQ(scheduler.timesteps().size(), expected.size());
  for (std::size_t i = 0; i < expected.size(); ++i) {
    const double tolerance = whole ? 0 : kTolerance * std::max(1.0, std::abs(expected[i]));
    EXPECT_NEAR(scheduler.timesteps()[i], expected[i], tolerance) << "timestep " << i;
  }
  const double sigma = run["init_noise_sigma"];
  EXPECT_NEAR(scheduler.init_noise_sigma(), sigma, kTolerance * sigma);
}

void expect_samples(const Scheduler& scheduler, const nlohmann::json& run,
                    const nlohmann::json& shape, const at::Tensor& noise) {
  const auto kept = run["kept"].get<std::vector<int>>();
  const auto timesteps = run["timesteps"].get<std::vector<double>>();
  at::Tensor sample = noise * scheduler.init_noise_sigma();
  SolverState state{{}, {}, noises_of(timesteps.size(), noise.sizes())};
  double tolerance = kTolerance;
  if (scheduler.noisy_steps() > 0) tolerance = kNoisyTolerance;
  if (scheduler.kind() == SchedulerKind::unipc) tolerance = kUniPcTolerance;
  std::size_t next = 0;
  for (int step = 0; step < std::ssize(timesteps); ++step) {
    const at::Tensor scaled = scheduler.scale_input(sample, step);
    const double timestep = timesteps[static_cast<std::size_t>(step)];
    sample = scheduler.step(prediction_of(scaled, timestep), step, sample, state);
    if (next == kept.size() || kept[next] != step) continue;
    EXPECT_LE(relative_error(scaled, tensor_of(run["scaled"][next], shape)), tolerance)
        << "scaled input of step " << step;
    EXPECT_LE(relative_error(sample, tensor_of(run["samples"][next], shape)), tolerance)
        << "sample after step " << step;
    ++next;
  }
  EXPECT_EQ(next, kept.size());
}

void expect_all_runs(const std::string& name) {
  const nlohmann::json data = reference(name);
  const at::Tensor noise = tensor_of(data["noise"], data["shape"]);
  EXPECT_GE(data["cases"].size(), 40U);
  for (const nlohmann::json& run : data["cases"]) {
    SCOPED_TRACE(name + ": " + run["name"].get<std::string>());
    const std::unique_ptr<Scheduler> scheduler = scheduler_of(run);
    EXPECT_EQ(name_of(scheduler->kind()), name);
    EXPECT_TRUE(scheduler->timesteps().empty());
    scheduler->set_steps(1);  // a plan that must leave nothing behind
    scheduler->set_steps(run["steps"]);
    expect_plan(*scheduler, run);
    expect_samples(*scheduler, run, data["shape"], noise);
  }
}

TEST(Schedulers, DdimEqualsDiffusers) { expect_all_runs("ddim"); }

TEST(Schedulers, EulerEqualsDiffusers) { expect_all_runs("euler"); }

TEST(Schedulers, Dpmpp2mEqualsDiffusers) { expect_all_runs("dpmpp_2m"); }

TEST(Schedulers, UniPcEqualsDiffusers) { expect_all_runs("unipc"); }

TEST(Schedulers, PndmEqualsDiffusers) { expect_all_runs("pndm"); }

TEST(Schedulers, EulerAncestralEqualsDiffusers) { expect_all_runs("euler_ancestral"); }

TEST(Schedulers, Dpmpp2mSdeEqualsDiffusers) { expect_all_runs("dpmpp_2m_sde"); }

TEST(Schedulers, LcmEqualsDiffusers) { expect_all_runs("lcm"); }

// As in diffusers, from_config(..., use_karras_sigmas=True).
TEST(Schedulers, GivenSigmasTakeThePlaceOfTheFiles) {
  for (const char* name :
       {"EulerDiscreteScheduler", "DPMSolverMultistepScheduler", "UniPCMultistepScheduler"}) {
    const std::string plain = std::string(R"({"_class_name": ")") + name + "\"";
    const std::string karras = plain + R"(, "use_karras_sigmas": true})";
    const std::string exponential = plain + R"(, "use_exponential_sigmas": true})";
    const std::vector<std::pair<SigmaSpacing, std::string>> said = {
        {SigmaSpacing::timesteps, plain + "}"},
        {SigmaSpacing::karras, karras},
        {SigmaSpacing::exponential, exponential}};
    for (const auto& [spacing, text] : said) {
      const auto expected = scheduler_from(text);
      expected->set_steps(9);
      const std::string beta = plain + R"(, "use_beta_sigmas": true})";
      for (const std::string& file : {plain + "}", karras, exponential, beta}) {
        const auto given = scheduler_from(file, {.sigmas = spacing});
        given->set_steps(9);
        EXPECT_EQ(given->timesteps(), expected->timesteps()) << file;
      }
    }
  }
}

// As in diffusers, from_config(..., timestep_spacing="trailing").
TEST(Schedulers, AGivenTimestepSpacingTakesThePlaceOfTheFiles) {
  for (const char* name : {"DDIMScheduler", "EulerDiscreteScheduler", "DPMSolverMultistepScheduler",
                           "UniPCMultistepScheduler", "PNDMScheduler"}) {
    const auto with = [&](TimestepSpacing spacing) {
      return std::string(R"({"skip_prk_steps": true, "_class_name": ")") + name +
             R"(", "timestep_spacing": ")" + std::string(name_of(spacing)) + "\"}";
    };
    for (const auto spacing :
         {TimestepSpacing::leading, TimestepSpacing::linspace, TimestepSpacing::trailing}) {
      const auto kind = name == std::string("PNDMScheduler") ? std::optional(SchedulerKind::pndm)
                                                             : std::optional<SchedulerKind>();
      const auto expected = scheduler_from(with(spacing), {kind});
      expected->set_steps(9);
      for (const auto other :
           {TimestepSpacing::leading, TimestepSpacing::linspace, TimestepSpacing::trailing}) {
        const auto given = scheduler_from(with(other), {kind, spacing});
        given->set_steps(9);
        EXPECT_EQ(given->timesteps(), expected->timesteps()) << with(other);
        EXPECT_EQ(given->init_noise_sigma(), expected->init_noise_sigma()) << with(other);
      }
    }
  }
}

// A step of several predictions reads the last ones, and begins anew without any.
TEST(Schedulers, AnEmptyStateBeginsARun) {
  for (const auto kind : {SchedulerKind::dpmpp_2m, SchedulerKind::dpmpp_2m_sde,
                          SchedulerKind::unipc, SchedulerKind::pndm}) {
    const auto scheduler = scheduler_of_kind(kind);
    scheduler->set_steps(8);
    const at::Tensor sample = at::arange(24, at::kFloat).sin().reshape({1, 4, 2, 3});
    const at::Tensor prediction = at::arange(24, at::kFloat).cos().reshape({1, 4, 2, 3});
    SolverState state{{}, {}, noises_of(8, sample.sizes())};
    static_cast<void>(scheduler->step(prediction, 2, sample, state));
    const at::Tensor second = scheduler->step(sample, 3, prediction, state);
    SolverState empty{{}, {}, state.noises};
    const at::Tensor first = scheduler->step(sample, 3, prediction, empty);
    EXPECT_FALSE(second.allclose(first)) << name_of(kind);
    EXPECT_TRUE(state.predictions.front().equal(empty.predictions.front())) << name_of(kind);
  }
}

// What diffusers' pipelines do with set_begin_index.
TEST(Schedulers, ASkippedStepLeavesTheOthersAsTheyWere) {
  const at::Tensor image = at::arange(24, at::kFloat).sin().reshape({1, 4, 2, 3});
  const at::Tensor noise = at::arange(24, at::kFloat).cos().reshape({1, 4, 2, 3});
  for (const SchedulerKind kind : kKinds) {
    if (kind == SchedulerKind::pndm) continue;  // whose first way is made twice
    SCOPED_TRACE(name_of(kind));
    const auto whole = scheduler_of_kind(kind);
    const auto later = scheduler_of_kind(kind);
    whole->set_steps(8);
    later->set_steps(8, 3);
    ASSERT_EQ(later->timesteps().size(), 5U);
    const at::Tensor noises = noises_of(8, image.sizes());
    EXPECT_FALSE(later->noised(image, noise, 0).equal(whole->noised(image, noise, 0)));
    for (int step = 0; step < 5; ++step) {
      EXPECT_EQ(later->timesteps()[static_cast<std::size_t>(step)],
                whole->timesteps()[static_cast<std::size_t>(step) + 3]);
      SolverState one{{noise}, image, noises.slice(0, 3)};
      SolverState other{{noise}, image, noises};
      EXPECT_TRUE(
          later->step(noise, step, image, one).equal(whole->step(noise, step + 3, image, other)));
      EXPECT_TRUE(later->scale_input(image, step).equal(whole->scale_input(image, step + 3)));
      EXPECT_TRUE(later->noised(image, noise, step).equal(whole->noised(image, noise, step + 3)));
    }
    EXPECT_THROW(later->set_steps(8, 8), ConfigError);
    EXPECT_THROW(later->set_steps(8, -1), ConfigError);
    EXPECT_EQ(later->timesteps().size(), 5U);  // the plan before the refused one stands
    later->set_steps(8, 7);
    EXPECT_EQ(later->timesteps().size(), 1U);
  }
}

// diffusers corrects its second step, whichever it is, as if it were the run's, and so ends a step
// early.
TEST(Schedulers, PndmMakesTheFirstWayThatIsLeftTwice) {
  const auto whole = scheduler_of_kind(SchedulerKind::pndm, R"(, "steps_offset": 1)");
  const auto later = scheduler_of_kind(SchedulerKind::pndm, R"(, "steps_offset": 1)");
  whole->set_steps(5);
  EXPECT_EQ(whole->timesteps(), (std::vector<double>{801, 601, 601, 401, 201, 1}));
  later->set_steps(5, 2);
  EXPECT_EQ(later->timesteps(), (std::vector<double>{401, 201, 201, 1}));
  const at::Tensor image = at::arange(24, at::kFloat).sin();
  const at::Tensor noise = at::arange(24, at::kFloat).cos();
  EXPECT_TRUE(later->noised(image, noise, 0).equal(whole->noised(image, noise, 3)));
  // With one prediction throughout all ways lead to where one long step leads.
  SolverState state;
  at::Tensor sample = later->noised(image, noise, 0);
  for (int step = 0; step < 4; ++step) sample = later->step(noise, step, sample, state);
  EXPECT_TRUE(sample.allclose(later->noised(image, noise, 3), 0, 0.03));
  later->set_steps(5, 4);
  EXPECT_EQ(later->timesteps(), (std::vector<double>{1}));
  EXPECT_THROW(later->set_steps(5, 5), ConfigError);
}

// What is left of the signal at timestep 749 is the product of (1 - beta) up to it, with betas from
// 0.0001 to 0.02 in 1000 even steps.
TEST(Schedulers, AnImageIsMixedWithTheNoiseOfTheFirstStep) {
  double alpha = 1;
  for (int t = 0; t < 750; ++t) alpha *= 1 - (0.0001 + t * (0.02 - 0.0001) / 999);
  const at::Tensor image = at::arange(24, at::kFloat).sin();
  const at::Tensor noise = at::arange(24, at::kFloat).cos();
  for (const auto kind : {SchedulerKind::ddim, SchedulerKind::euler}) {
    SCOPED_TRACE(name_of(kind));
    const auto scheduler = scheduler_of_kind(kind, R"(, "timestep_spacing": "trailing")");
    scheduler->set_steps(4, 1);
    ASSERT_EQ(scheduler->timesteps()[0], 749);
    // Euler's samples count the noise to a whole image.
    const double image_share = kind == SchedulerKind::euler ? 1 : std::sqrt(alpha);
    const at::Tensor expected = (image + noise * std::sqrt((1 - alpha) / alpha)) * image_share;
    EXPECT_LE(relative_error(scheduler->noised(image, noise, 0), expected), 1e-5);
  }
  // Its timesteps lie elsewhere.
  const auto solver = scheduler_of_kind(SchedulerKind::dpmpp_2m);
  solver->set_steps(4);
  const at::Tensor mixed = solver->noised(image, at::arange(24, at::kFloat) * 0, 0);
  const at::Tensor pure = solver->noised(at::arange(24, at::kFloat) * 0, image, 0);
  EXPECT_NEAR((mixed.square() + pure.square()).sum().item<double>(),
              image.square().sum().item<double>(), 1e-4);
}

// Ranks step one scheduler at once, and ask for a step again when they are repeated.
TEST(Schedulers, StepsDependOnNothingButTheirArguments) {
  for (const SchedulerKind kind : kKinds) {
    SCOPED_TRACE(name_of(kind));
    const auto scheduler = scheduler_of_kind(kind);
    scheduler->set_steps(8);
    const at::Tensor sample = at::arange(24, at::kFloat).sin().reshape({1, 4, 2, 3});
    const at::Tensor prediction = at::arange(24, at::kFloat).cos().reshape({1, 4, 2, 3});
    const at::Tensor before = at::arange(24, at::kFloat).reshape({1, 4, 2, 3});
    const at::Tensor noises = noises_of(8, sample.sizes());
    const at::Tensor sample_before = sample.clone();
    const at::Tensor prediction_before = prediction.clone();
    std::vector<at::Tensor> forward(8);
    for (int step = 0; step < 8; ++step) {
      SolverState state{{before}, before, noises};
      forward[static_cast<std::size_t>(step)] = scheduler->step(prediction, step, sample, state);
    }
    std::vector<at::Tensor> threaded(8);
    std::vector<std::thread> threads;
    for (int step = 7; step >= 0; --step) {
      threads.emplace_back([&, step] {
        SolverState state{{before}, before, noises};
        threaded[static_cast<std::size_t>(step)] = scheduler->step(prediction, step, sample, state);
      });
    }
    for (std::thread& thread : threads) thread.join();
    for (std::size_t step = 0; step < 8; ++step) {
      EXPECT_TRUE(threaded[step].equal(forward[step])) << step;
    }
    EXPECT_TRUE(sample.equal(sample_before));
    EXPECT_TRUE(prediction.equal(prediction_before));
  }
}

TEST(Schedulers, StepOutsideThePlanThrows) {
  for (const SchedulerKind kind : kKinds) {
    const auto scheduler = scheduler_of_kind(kind);
    const at::Tensor sample = at::arange(4, at::kFloat).reshape({1, 1, 2, 2});
    SolverState state{{}, {}, noises_of(3, sample.sizes())};
    EXPECT_THROW(scheduler->step(sample, 0, sample, state), std::out_of_range);
    scheduler->set_steps(3);
    const int steps = static_cast<int>(scheduler->timesteps().size());
    EXPECT_NO_THROW(scheduler->step(sample, 2, sample, state));
    EXPECT_THROW(scheduler->step(sample, steps, sample, state), std::out_of_range);
    EXPECT_THROW(scheduler->step(sample, -1, sample, state), std::out_of_range);
    EXPECT_THROW(scheduler->scale_input(sample, -1), std::out_of_range);
    EXPECT_THROW(scheduler->scale_input(sample, steps), std::out_of_range);
    EXPECT_THROW(scheduler->noised(sample, sample, -1), std::out_of_range);
    EXPECT_THROW(scheduler->noised(sample, sample, steps), std::out_of_range);
  }
}

}  // namespace
}  // namespace pcpp
