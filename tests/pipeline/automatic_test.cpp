// Requests that leave the arrangement to the pipeline.

#include <gtest/gtest.h>

#include <limits>

#include "pipeline/references.h"
#include "support/errors.h"

namespace pcpp {
namespace {

// A device that needs a second for 1e9 multiply-accumulates, on a link of this bandwidth.
DeviceProfile scripted(double bytes_per_second) {
  DeviceProfile profile;
  profile.name = "scripted";
  for (const WorkKind kind : {WorkKind::convolution, WorkKind::linear, WorkKind::attention,
                              WorkKind::normalisation, WorkKind::elementwise}) {
    profile.curves.push_back({kind, "", 1, {{1e9, 1}}});
  }
  profile.link = Link{"scripted", bytes_per_second, 1e-6, false};
  return profile;
}

Pipeline pipeline_with(const DeviceProfile& profile, int ranks = 4) {
  PipelineOptions options;
  options.profile = profile;
  return {test_data("patch"), World(ranks, 1), options};
}

GenerationRequest automatic_request() {
  GenerationRequest request = patch_request("inputs_32x12.safetensors");
  request.automatic = true;
  return request;
}

TEST(Automatic, TakesOneDeviceWhereTheLinkIsSlow) {
  const GenerationResult result = pipeline_with(scripted(1)).generate(automatic_request());
  ASSERT_TRUE(result.chosen);
  EXPECT_EQ(result.chosen->ranks, 1);
  EXPECT_EQ(result.ranks.size(), 1U);
  GenerationRequest explicitly = automatic_request();
  explicitly.automatic = false;
  explicitly.parallel = result.chosen->parallel;
  const GenerationResult single =
      cached_pipeline("patch", result.chosen->ranks).generate(explicitly);
  EXPECT_FALSE(single.chosen);
  EXPECT_EQ(result.latents.values, single.latents.values);
}

TEST(Automatic, TakesAllDevicesWhereTheLinkIsFastAndSaysHowToRepeatIt) {
  const GenerationResult result = pipeline_with(scripted(1e15)).generate(automatic_request());
  ASSERT_TRUE(result.chosen);
  EXPECT_EQ(result.chosen->ranks, 4);
  EXPECT_EQ(result.ranks.size(), 4U);
  EXPECT_GT(result.chosen->speedup, 2);
  GenerationRequest explicitly = automatic_request();
  explicitly.automatic = false;
  explicitly.parallel = result.chosen->parallel;
  const GenerationResult repeated =
      cached_pipeline("patch", result.chosen->ranks).generate(explicitly);
  EXPECT_EQ(result.latents.values, repeated.latents.values);
  for (std::size_t rank = 0; rank < 4; ++rank) {
    EXPECT_EQ(result.ranks[rank].rows, repeated.ranks[rank].rows);
  }
}

TEST(Automatic, KeepsTheRequestsMethod) {
  GenerationRequest request = automatic_request();
  request.parallel.reach = Reach::all;
  request.parallel.sync_steps = 3;
  request.parallel.group_norm = GroupNormMode::stale;
  const GenerationResult result = pipeline_with(scripted(1e15), 2).generate(request);
  EXPECT_EQ(result.chosen->parallel.reach, Reach::all);
  EXPECT_EQ(result.chosen->parallel.sync_steps, 3);
  EXPECT_EQ(result.chosen->parallel.group_norm, GroupNormMode::stale);
}

TEST(Automatic, RefusesAProfileThatIsNoneBeforeTheModelIsLoaded) {
  PipelineOptions options;
  options.profile.emplace().name = "empty";
  testing::expect_error<ConfigError>([&] { Pipeline("nowhere", World(2, 1), options); },
                                     {"profile empty has no curve"});
}

TEST(Automatic, MeasuresWhereItIsGivenNoProfile) {
  GenerationRequest request = automatic_request();
  const GenerationResult result = cached_pipeline("patch", 2).generate(request);
  ASSERT_TRUE(result.chosen);
  EXPECT_GT(result.chosen->step_ms, 0);
  EXPECT_EQ(static_cast<int>(result.ranks.size()), result.chosen->ranks);
}

// A profile that lacks curves is of no use to the planner.
TEST(Automatic, RefusesBadSettingsBeforeItAsksWhatTheyCost) {
  DeviceProfile lacking;
  lacking.name = "lacking";
  lacking.curves = {{WorkKind::attention, "", 1, {{1, 1}}}};
  const auto expect_refused = [&](const GenerationRequest& refused, const std::string& words) {
    testing::expect_error<ConfigError>([&] { pipeline_with(lacking, 2).generate(refused); },
                                       {words});
  };
  GenerationRequest request = automatic_request();
  expect_refused(request, "profile");
  request.parallel.partial = 1.5;
  expect_refused(request, "partial 1.5");
  request = automatic_request();
  request.parallel.sync_steps = 0;
  expect_refused(request, "0 synchronous steps");
  request = automatic_request();
  request.steps = 100000;
  expect_refused(request, "100000");
  request = automatic_request();
  request.latents->values[7] = std::numeric_limits<float>::infinity();
  expect_refused(request, "latents holds");
  request = automatic_request();
  request.prompt_embeds.erase("negative_prompt_embeds");
  expect_refused(request, "lack negative_prompt_embeds");
}

TEST(Automatic, RefusesBandsAndAProfileOfAnotherDtype) {
  GenerationRequest request = automatic_request();
  request.parallel.bands = {16, 16};
  EXPECT_THROW(cached_pipeline("patch", 2).generate(request), ConfigError);
  DeviceProfile half = scripted(1);
  half.dtype = DataType::bfloat16;
  EXPECT_THROW(pipeline_with(half), ConfigError);
}

}  // namespace
}  // namespace pcpp
