// Requests of which a part of the steps has guidance. That one rank draws diffusers' pictures is in
// diffusers_test.cpp.

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "pipeline/phases.h"
#include "pipeline/references.h"
#include "support/errors.h"

namespace pcpp {
namespace {

// Steps 2 to 4 of 8 have guidance.
GenerationRequest request() {
  GenerationRequest request = patch_request("inputs_32x12.safetensors");
  request.steps = 8;
  request.guidance_start = 0.25;
  request.guidance_end = 0.63;
  request.parallel.sync_steps = request.steps;
  return request;
}

FloatTensor drawn(const GenerationRequest& request, int ranks) {
  return cached_pipeline("patch", ranks).generate(request).latents;
}

std::vector<bool> are_synchronous(const RankReport& rank) {
  std::vector<bool> are;
  for (const StepRecord& step : rank.steps) are.push_back(step.kind == StepKind::synchronous);
  return are;
}

TEST(StepsWithin, AreThoseThatLieWhollyThere) {
  const auto within = [](double begin, double end, int steps) {
    const StepRange range = steps_within(begin, end, steps);
    return std::vector{range.first, range.end};
  };
  EXPECT_EQ(within(0, 1, 8), (std::vector{0, 8}));
  EXPECT_EQ(within(0.25, 0.63, 8), (std::vector{2, 5}));
  EXPECT_EQ(within(0.26, 0.62, 8), (std::vector{3, 4}));
  EXPECT_EQ(within(0, 0.6, 25), (std::vector{0, 15}));
  EXPECT_TRUE(steps_within(0.3, 0.4, 4).empty());
}

TEST(GuidanceOfAPart, IsThatOfAllStepsWhereTheyAreAll) {
  GenerationRequest asked = request();
  asked.guidance_start = 0;
  asked.guidance_end = 1;
  const FloatTensor guided = drawn(asked, 1);
  EXPECT_GE(relative_distance(drawn(request(), 1), guided), 0.01);
  asked.guidance_scale = 1;
  const FloatTensor unguided = drawn(asked, 1);
  EXPECT_GE(relative_distance(drawn(request(), 1), unguided), 0.01);
  asked.guidance_start = 0.25;  // is not looked at
  EXPECT_EQ(drawn(asked, 1).values, unguided.values);
}

TEST(GuidanceOfAPart, IsDrawnInSynchronousBandsAsByOneDevice) {
  for (const auto scheduler :
       {SchedulerKind::ddim, SchedulerKind::dpmpp_2m, SchedulerKind::euler_ancestral}) {
    GenerationRequest asked = request();
    asked.scheduler = scheduler;
    const FloatTensor one = drawn(asked, 1);
    EXPECT_LE(relative_distance(drawn(asked, 3), one), 2e-5) << name_of(scheduler);
    asked.parallel.guidance = Guidance::split;
    EXPECT_LE(relative_distance(drawn(asked, 4), one), 2e-5) << name_of(scheduler);
  }
}

// Each phase begins with a step that waits for this step's rows, and ends with one that sends none
// for the next.
TEST(GuidanceOfAPart, BeginsAndEndsSynchronously) {
  GenerationRequest asked = request();
  asked.parallel = ParallelConfig::pcpp();
  asked.parallel.sync_steps = 1;
  Pipeline& pipeline = cached_pipeline("patch", 2);
  const GenerationResult result = pipeline.generate(asked);
  ASSERT_EQ(result.step_latents.size(), 8U);
  EXPECT_EQ(result.latents.values, result.step_latents.back().values);
  const std::vector<bool> expected = {true, false, true, false, false, true, false, false};
  for (const RankReport& rank : result.ranks) EXPECT_EQ(are_synchronous(rank), expected);
  const std::vector<StepRecord>& steps = result.ranks[0].steps;
  for (std::size_t step = 0; step < steps.size(); ++step) {
    EXPECT_EQ(steps[step].step, static_cast<int>(step));
  }
  EXPECT_EQ(steps[3].sent.attention, 2 * steps[6].sent.attention);
  EXPECT_EQ(steps[4].sent.attention, 0);
  EXPECT_EQ(pipeline.generate(asked).latents.values, result.latents.values);
}

// Four ranks are two bands with guidance and four without.
TEST(GuidanceOfAPart, WhereItIsSplitAllRanksShareTheOtherSteps) {
  GenerationRequest asked = request();
  asked.parallel = ParallelConfig::pcpp();
  asked.parallel.guidance = Guidance::split;
  asked.parallel.bands = {8, 24};
  asked.parallel.sync_steps = 1;
  const GenerationResult result = cached_pipeline("patch", 4).generate(asked);
  EXPECT_EQ(result.ranks[1].rows, (std::array<std::int64_t, 2>{8, 32}));
  EXPECT_EQ(result.ranks[3].branch, 1);
  const std::int64_t row_bytes = 12 * 4 * 4;  // of the noise, to each of the others
  EXPECT_EQ(result.ranks[1].steps[0].sent.gather, 3 * 8 * row_bytes);
  EXPECT_EQ(result.ranks[1].steps[3].sent.gather, 3 * 24 * row_bytes);
  for (const RankReport& rank : result.ranks) EXPECT_EQ(rank.steps.size(), 8U);
}

// The latent's 32 rows are eight bands at most: ten ranks are five with guidance.
TEST(GuidanceOfAPart, WhereItIsSplitRanksWithoutARowRest) {
  GenerationRequest asked = request();
  asked.parallel.guidance = Guidance::split;
  const GenerationResult result = cached_pipeline("patch", 10).generate(asked);
  EXPECT_LE(relative_distance(result.latents, drawn(request(), 1)), 2e-5);
  EXPECT_EQ(result.ranks[7].steps.size(), 8U);
  EXPECT_EQ(result.ranks[8].steps.size(), 3U);
  EXPECT_EQ(result.ranks[9].steps.front().step, 2);
}

TEST(GuidanceOfAPart, TracesEveryStep) {
  GenerationRequest asked = request();
  asked.trace = true;
  const GenerationResult result = cached_pipeline("patch", 2).generate(asked);
  for (const RankTrace& rank : result.trace->ranks) {
    std::vector<int> steps;
    for (const TraceSpan& span : rank.spans) {
      if (span.depth == 0) steps.push_back(span.step);
    }
    EXPECT_EQ(steps, (std::vector{0, 1, 2, 3, 4, 5, 6, 7}));
  }
}

// After a phase's end a ControlNet goes on with the next, as it does on one device.
TEST(GuidanceOfAPart, LeavesControlsTheirSteps) {
  GenerationRequest asked = two_tall_pictures();
  asked.prompts.resize(1);
  asked.steps = 8;
  asked.guidance_start = 0.25;
  asked.guidance_end = 0.63;
  asked.parallel.sync_steps = 8;
  asked.decode = false;
  asked.controls = {{{striped(64, 192, 3)}, 1, 0.12, 0.76}};
  PipelineOptions options;
  options.controlnets = {test_data("control/sd15")};
  const auto draw = [&](int ranks) {
    return Pipeline(test_data("models/sd15"), World(ranks, 1), options).generate(asked);
  };
  const GenerationResult one = draw(1);
  const GenerationResult two = draw(2);
  EXPECT_LE(relative_distance(two.latents, one.latents), 2e-5);
  asked.parallel.sync_steps = 1;
  const GenerationResult steady = draw(2);
  const std::vector<StepRecord>& steps = steady.ranks[0].steps;
  // Steps 1 to 5 are steered; in step 4 guidance ends, in step 5 the ControlNet.
  EXPECT_GT(steps[5].sent.halo, 0);
  EXPECT_GT(steps[2].sent.halo, steps[5].sent.halo);
  EXPECT_GT(relative_distance(steady.latents, one.latents), 1e-5);
  EXPECT_LE(relative_distance(steady.latents, one.latents), 0.5);
  asked.controls[0].end = 0.5;
  EXPECT_GE(relative_distance(draw(1).latents, one.latents), 1e-3);
}

TEST(GuidanceOfAPart, OfNoStepDrawsWithout) {
  GenerationRequest asked = request();
  asked.guidance_start = 0.3;
  asked.guidance_end = 0.4;  // step 2 of 8 ends at 0.375, and begins at 0.25
  const FloatTensor without = drawn(asked, 2);
  asked.guidance_scale = 1;
  EXPECT_EQ(drawn(asked, 2).values, without.values);
}

TEST(GuidanceOfAPart, MustBeginBeforeItEnds) {
  for (const auto& [begin, end] :
       {std::pair(0.5, 0.5), {0.7, 0.2}, {-0.1, 0.5}, {0.2, 1.1}, {NAN, 1.0}, {0.0, NAN}}) {
    GenerationRequest asked = request();
    asked.guidance_start = begin;
    asked.guidance_end = end;
    testing::expect_error<ConfigError>([&] { drawn(asked, 1); },
                                       {"guidance from", "it must begin before it ends"});
  }
}

TEST(RescaledGuidance, IsDrawnInSynchronousBandsAsByOneDevice) {
  GenerationRequest asked = request();
  const FloatTensor plain = drawn(asked, 1);
  asked.guidance_rescale = 0.7;
  const FloatTensor one = drawn(asked, 1);
  EXPECT_GE(relative_distance(one, plain), 0.01);
  EXPECT_LE(relative_distance(drawn(asked, 3), one), 2e-5);
  asked.parallel.guidance = Guidance::split;
  EXPECT_LE(relative_distance(drawn(asked, 4), one), 2e-5);
}

TEST(RescaledGuidance, GathersBothBranchesFromRanksThatComputeBoth) {
  const auto gathered = [](double rescale, Guidance guidance) {
    GenerationRequest asked = request();
    asked.guidance_rescale = rescale;
    asked.parallel.guidance = guidance;
    const GenerationResult result = cached_pipeline("patch", 2).generate(asked);
    const std::vector<StepRecord>& steps = result.ranks[0].steps;
    return std::vector{steps[0].sent.gather, steps[3].sent.gather};  // without guidance and with it
  };
  const std::int64_t band = 16 * 12 * 4 * 4;
  EXPECT_EQ(gathered(0, Guidance::batched), (std::vector{band, band}));
  EXPECT_EQ(gathered(0.7, Guidance::batched), (std::vector{band, 2 * band}));
  EXPECT_EQ(gathered(0.7, Guidance::split), (std::vector{band, 2 * band}));  // the whole, of one
}

TEST(RescaledGuidance, ChangesNothingWhereThereIsNone) {
  GenerationRequest asked = request();
  asked.guidance_scale = 1;
  const FloatTensor plain = drawn(asked, 2);
  asked.guidance_rescale = 0.7;
  EXPECT_EQ(drawn(asked, 2).values, plain.values);
}

}  // namespace
}  // namespace pcpp
