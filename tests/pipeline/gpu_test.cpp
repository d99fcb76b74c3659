// Whole pictures with device cuda, beside those of one rank and of a CPU: on a GPU, or on emulated
// ones (tests/support/emulated_gpus.cpp).

#include <ATen/Context.h>
#include <c10/util/Exception.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <set>
#include <string>
#include <utility>
#include <vector>

#include "pipeline/gpu_cases.h"
#include "pipeline/references.h"
#include "support/errors.h"

namespace pcpp {
namespace {

TEST_F(GpuTest, OneRankDrawsWhatACpuDraws) {
  const GenerationResult result = draw(request(), 1);
  const GenerationResult reference = cached_pipeline("patch", 1).generate(request());
  ASSERT_EQ(result.step_latents.size(), reference.step_latents.size());
  for (std::size_t step = 0; step < result.step_latents.size(); ++step) {
    EXPECT_LE(relative_distance(result.step_latents[step], reference.step_latents[step]),
              kTolerance)
        << "step " << step;
  }
}

TEST_F(GpuTest, SynchronousRanksDrawWhatOneDraws) {
  GenerationRequest synchronous = request();
  synchronous.parallel.sync_steps = synchronous.steps;
  const GenerationResult one = draw(synchronous, 1);
  for (const int ranks : is_emulated() ? std::vector{2, 4} : std::vector{2, 3, 4, 8}) {
    EXPECT_LE(relative_distance(draw(synchronous, ranks).latents, one.latents), kTolerance)
        << ranks << " ranks";
  }
}

TEST_P(GpuMethods, DrawWhatTheyDrawOnACpu) {
  const GenerationRequest request = method_request();
  const GenerationResult reference = cached_pipeline("patch", GetParam().ranks).generate(request);
  const GenerationResult result = draw(request, GetParam().ranks);
  // A value on the edge between two encoded levels may fall to either side.
  const double bound = request.parallel.row_format == RowFormat::exact ? kTolerance : 1e-3;
  const auto steps = static_cast<std::size_t>(request.steps);
  ASSERT_EQ(result.step_latents.size(), steps);
  ASSERT_EQ(reference.step_latents.size(), steps);
  for (std::size_t step = 0; step < result.step_latents.size(); ++step) {
    EXPECT_LE(relative_distance(result.step_latents[step], reference.step_latents[step]), bound)
        << "step " << step;
  }
  ASSERT_EQ(result.ranks.size(), static_cast<std::size_t>(GetParam().ranks));
  ASSERT_EQ(reference.ranks.size(), result.ranks.size());
  for (std::size_t rank = 0; rank < result.ranks.size(); ++rank) {
    ASSERT_EQ(result.ranks[rank].steps.size(), steps);
    ASSERT_EQ(reference.ranks[rank].steps.size(), steps);
    for (std::size_t step = 0; step < result.ranks[rank].steps.size(); ++step) {
      EXPECT_EQ(result.ranks[rank].steps[step].sent, reference.ranks[rank].steps[step].sent);
      EXPECT_GT(result.ranks[rank].steps[step].compute_ms, 0);
    }
  }
}

TEST_F(GpuTest, TwoRequestsDrawTheSameBits) {
  Pipeline pipeline(test_data("patch"), World::cuda({0}, 3));
  EXPECT_EQ(pipeline.generate(request()).latents.values,
            pipeline.generate(request()).latents.values);
}

INSTANTIATE_TEST_SUITE_P(Methods, GpuMethods, ::testing::ValuesIn(method_cases()),
                         [](const auto& suite) { return suite.param.name; });

TEST_F(GpuTest, SixteenBitsStayNearFloat32) {
  for (const int ranks : is_emulated() ? std::vector{2} : std::vector{1, 2, 3, 4, 8}) {
    for (const RowFormat format : {RowFormat::exact, RowFormat::int4}) {
      GenerationRequest encoded = request();
      encoded.parallel.row_format = format;
      const GenerationResult exact = draw(encoded, ranks);
      for (const auto& [dtype, bound] :
           {std::pair{DataType::float16, 0.02}, std::pair{DataType::bfloat16, 0.1}}) {
        const double distance =
            relative_distance(draw(encoded, ranks, dtype).latents, exact.latents);
        const std::string which = fmt::format("{}, {} ranks{}", name_of(dtype), ranks,
                                              format == RowFormat::int4 ? ", int4" : "");
        EXPECT_GT(distance, 0) << which;
        EXPECT_LE(distance, bound) << which;
      }
    }
  }
}

TEST_F(GpuTest, PooledTokensInSixteenBitsStayNearFloat32WithoutCudnn) {
  GenerationRequest pooled = request();
  pooled.parallel.pool = 5;
  bool has_cudnn = true;
  pooled.on_step = [&](const StepProgress& /*progress*/) {
    has_cudnn = at::globalContext().userEnabledCuDNNSDP();
  };
  const double distance =
      relative_distance(draw(pooled, 3, DataType::float16).latents, draw(pooled, 3).latents);
  EXPECT_FALSE(has_cudnn);
  EXPECT_GT(distance, 0);
  EXPECT_LE(distance, 0.02);
}

TEST_F(GpuTest, AttentionTakesTheKernelThatIsAskedFor) {
  GenerationRequest one_step = request();
  one_step.steps = 1;
  PipelineOptions loading;
  loading.attention = GpuAttention::math;
  Pipeline pipeline(test_data("patch"), World::cuda({0}, 2), loading);
  bool is_alone = false;
  one_step.on_step = [&](const StepProgress&) {
    is_alone = !at::globalContext().userEnabledFlashSDP();
  };
  const GenerationResult result = pipeline.generate(one_step);
  EXPECT_TRUE(is_alone);
  EXPECT_TRUE(at::globalContext().userEnabledFlashSDP());
  EXPECT_LE(relative_distance(result.latents, draw(one_step, 2).latents), kTolerance);
}

std::string failure_of(Pipeline& pipeline, const GenerationRequest& request) {
  try {
    pipeline.generate(request);
  } catch (const DeviceError& error) {
    return error.what();
  }
  return "no error";
}

TEST_F(GpuTest, WhatOnStepThrowsEndsAllRanksAndTheNextRequestWorks) {
  Pipeline pipeline(test_data("patch"), World::cuda({0}, 3));
  GenerationRequest failing = request();
  failing.on_step = [](const StepProgress& progress) {
    if (progress.step == 2) throw DeviceError("lost");
  };
  EXPECT_EQ(failure_of(pipeline, failing), "lost");
  failing.steps = request_with_graphs().steps;
  failing.on_step = [](const StepProgress& progress) {
    // The others are in the middle of a step that repeats, or will be.
    if (progress.step == 6) throw DeviceError("lost amid graphs");
  };
  EXPECT_EQ(failure_of(pipeline, failing), "lost amid graphs");
  EXPECT_NO_THROW(pipeline.generate(request()));
}

TEST_F(GpuTest, LacksNothingThatIsAskedForWithoutAReason) {
  testing::expect_error<ConfigError>([] { World::cuda({4711}); },
                                     {"cuda:4711: there is no such GPU"});
  testing::expect_error<ConfigError>([] { World::cuda({0, 0}); }, {"named twice"});
  testing::expect_error<ConfigError>([] { World::cuda({0}, 2, GpuTransport::nccl); },
                                     {"2 ranks on 1 GPUs: NCCL takes one rank a GPU"});
}

TEST_F(GpuTest, AnAutomaticRequestWithoutAProfileMeasuresTheRanks) {
  GenerationRequest automatic = request();
  automatic.automatic = true;
  const GenerationResult result = draw(automatic, 1);
  ASSERT_TRUE(result.chosen);
  EXPECT_GT(result.chosen->step_ms, 0);
  EXPECT_EQ(result.latents.values, draw(request(), 1).latents.values);
}

TEST_F(GpuTest, AMeasuredProfileIsOfTheGpusAndTheirLink) {
  PlanRequest request;
  request.width = request.height = 64;
  request.guided = false;
  request.devices = 2;
  const DeviceProfile profile =
      measure_profile(test_data("patch"), request, DataType::float16, World::cuda({0}, 2));
  EXPECT_TRUE(profile.measured);
  EXPECT_EQ(profile.dtype, DataType::float16);
  EXPECT_TRUE(profile.source.starts_with(World::gpu_name(0) + ", 2 ranks on cuda:0"));
  EXPECT_THROW(World::gpu_name(-1), ConfigError);
  EXPECT_GT(profile.memory_bytes, 1 << 30);
  ASSERT_TRUE(profile.link);
  EXPECT_GT(profile.link->bytes_per_second, 0);
  EXPECT_GT(profile.link->latency_seconds, 0);
  for (const RateCurve& curve : profile.curves) {
    if (curve.kind == WorkKind::gather || curve.kind == WorkKind::elementwise) continue;
    for (const RateCurve::Point& point : curve.points) EXPECT_GT(point.seconds, 0) << curve.shape;
  }
  const Plan plan = make_plan(test_data("patch"), request, profile);
  for (const PlannedRun& run : plan.runs) EXPECT_GT(run.step_ms, 0);
}

// Where cuDNN keeps its plans.
TEST_F(GpuTest, TheNextRequestsRanksHaveTheSameThreads) {
  Pipeline drawing = pipeline(2, options(DataType::float32));
  std::vector<pid_t> threads;
  for (int i = 0; i < 2; ++i) {
    GenerationRequest observed = request();
    observed.on_step = [&](const StepProgress& /*progress*/) { threads.push_back(gettid()); };
    drawing.generate(observed);
  }
  EXPECT_EQ(std::set(threads.begin(), threads.end()).size(), 1U);
  EXPECT_NE(threads.front(), gettid());
}

TEST_F(GpuTest, BehindAFailureRanksHaveOtherThreads) {
  Pipeline drawing = pipeline(2, options(DataType::float32));
  int steps_of_thread = 0;
  bool fails = true;
  GenerationRequest observed = request();
  observed.on_step = [&](const StepProgress& /*progress*/) {
    thread_local int own = 0;
    steps_of_thread = ++own;
    if (fails) throw DeviceError("no plan");
  };
  EXPECT_EQ(failure_of(drawing, observed), "no plan");
  fails = false;
  drawing.generate(observed);
  EXPECT_EQ(steps_of_thread, observed.steps);
}

TEST_F(GpuTest, RanksGoRoundTheGpus) {
  EXPECT_EQ(World::cuda({0}).ranks(), 1);
  const World world = World::cuda({0}, 3);
  EXPECT_EQ(world.gpus(), (std::vector<int>{0, 0, 0}));
  EXPECT_EQ(world.device(), "cuda:0");
  EXPECT_EQ(World::cuda().ranks(), World::gpu_count());
  if (World::gpu_count() < 3) return;
  EXPECT_EQ(World::cuda({2, 0}, 3).gpus(), (std::vector<int>{2, 0, 2}));
}

}  // namespace
}  // namespace pcpp
