// The methods, step by step, against an independent emulation of the authors' algorithms
// (tests/reference/patch_make.py), and the equivalences that need no reference.

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "pipeline/references.h"

namespace pcpp {
namespace {

// Float32 against the reference's float64; one token read too many moves the latents by 7e-4.
constexpr double kTolerance = 2e-5;

ParallelConfig parallel_of(const nlohmann::json& item) {
  const std::string method = item.at("method");
  ParallelConfig config = ParallelConfig::pcpp();
  if (method == "naive") config = ParallelConfig::naive();
  if (method == "distrifusion") config = ParallelConfig::distrifusion();
  if (!item.at("partial").is_null()) config.partial = item.at("partial");
  const std::string group_norm = item.at("group_norm");
  if (group_norm == "stale") config.group_norm = GroupNormMode::stale;
  if (group_norm == "local") config.group_norm = GroupNormMode::local;
  if (group_norm == "synchronous") config.group_norm = GroupNormMode::synchronous;
  return config;
}

class MethodsTest : public ::testing::TestWithParam<nlohmann::json> {};

TEST_P(MethodsTest, EveryStepAgreesWithTheReference) {
  const nlohmann::json& item = GetParam();
  GenerationRequest request = patch_request(item.at("inputs"));
  const int sync_steps = request.parallel.sync_steps;
  request.parallel = parallel_of(item);
  request.parallel.sync_steps = sync_steps;
  const GenerationResult result = cached_pipeline("patch", item.at("ranks")).generate(request);
  const TensorMap reference =
      load_tensors(test_data("patch/" + item.at("steps").get<std::string>()));
  ASSERT_EQ(result.step_latents.size(), reference.size());
  for (std::size_t step = 0; step < result.step_latents.size(); ++step) {
    EXPECT_LE(
        relative_distance(result.step_latents[step], reference.at(fmt::format("step_{:03}", step))),
        kTolerance)
        << "step " << step;
  }
  std::int64_t begin = 0;
  for (std::size_t band = 0; band < item.at("band_rows").size(); ++band) {
    const std::int64_t end = begin + item.at("band_rows")[band].get<std::int64_t>();
    EXPECT_EQ(result.ranks.at(band).rows, (std::array<std::int64_t, 2>{begin, end}));
    begin = end;
  }
}

INSTANTIATE_TEST_SUITE_P(Cases, MethodsTest,
                         ::testing::ValuesIn(read_json_file(test_data("patch/index.json"))
                                                 .at("cases")
                                                 .get<std::vector<nlohmann::json>>()),
                         [](const auto& suite) {
                           return suite.param.at("name").template get<std::string>();
                         });

GenerationResult run(int ranks, const ParallelConfig& parallel) {
  GenerationRequest request = patch_request("inputs_32x12.safetensors");
  request.parallel = parallel;
  return cached_pipeline("patch", ranks).generate(request);
}

ParallelConfig all_synchronous(Guidance guidance) {
  ParallelConfig config = ParallelConfig::pcpp();
  config.sync_steps = 1000;
  config.guidance = guidance;
  return config;
}

TEST(Equivalence, SynchronousRanksDrawTheOneDeviceImage) {
  const FloatTensor single = run(1, ParallelConfig::pcpp()).latents;
  for (const int ranks : {2, 3, 4, 5, 7}) {
    EXPECT_LE(relative_distance(run(ranks, all_synchronous(Guidance::batched)).latents, single),
              kTolerance)
        << ranks << " ranks";
  }
}

TEST(Equivalence, SplitGuidanceDrawsWhatBatchedGuidanceDraws) {
  const FloatTensor single = run(1, ParallelConfig::pcpp()).latents;
  EXPECT_LE(relative_distance(run(4, all_synchronous(Guidance::split)).latents, single),
            kTolerance);
  ParallelConfig config = ParallelConfig::pcpp();
  const FloatTensor batched = run(3, config).latents;
  config.guidance = Guidance::split;
  EXPECT_LE(relative_distance(run(6, config).latents, batched), kTolerance);
}

TEST(Equivalence, PartialOneOfTwoPatchesIsDistriFusion) {
  EXPECT_EQ(run(2, ParallelConfig::pcpp(1)).latents.values,
            run(2, ParallelConfig::distrifusion()).latents.values);
}

TEST(Equivalence, ASteadyRunIsNotTheOneDeviceImage) {
  const FloatTensor single = run(1, ParallelConfig::pcpp()).latents;
  ParallelConfig config = ParallelConfig::pcpp();
  config.sync_steps = 2;
  EXPECT_GE(relative_distance(run(2, config).latents, single), 100 * kTolerance);
}

}  // namespace
}  // namespace pcpp
