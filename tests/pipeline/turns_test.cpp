// Ranks that compute one after the other, for measurement.

#include <gtest/gtest.h>

#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "pipeline/references.h"
#include "support/call_watch.h"
#include "support/errors.h"

namespace pcpp {
namespace {

using testing::expect_error;

constexpr int kRanks = 3;

GenerationRequest request() { return patch_request("inputs_32x12.safetensors"); }

Pipeline& pipeline() { return cached_pipeline("patch", kRanks); }

TEST(Turns, ChangeNoPicture) {
  std::vector<ParallelConfig> methods = {ParallelConfig::naive(), ParallelConfig::distrifusion(),
                                         ParallelConfig::pcpp(0.3)};
  methods.push_back(ParallelConfig::pcpp(0.3));
  methods.back().pool = 4;
  methods.back().row_format = RowFormat::int4;
  methods.back().group_norm = GroupNormMode::stale;
  for (const ParallelConfig& method : methods) {
    GenerationRequest drawn = request();
    drawn.parallel = method;
    const GenerationResult at_once = pipeline().generate(drawn);
    drawn.ranks_in_turn = true;
    EXPECT_EQ(pipeline().generate(drawn).latents.values, at_once.latents.values);
  }
}

TEST(Turns, BranchesOfTheirOwnTakeTurnsToo) {
  GenerationRequest split = request();
  split.parallel.guidance = Guidance::split;
  Pipeline& four = cached_pipeline("patch", 4);
  const GenerationResult at_once = four.generate(split);
  split.ranks_in_turn = true;
  EXPECT_EQ(four.generate(split).latents.values, at_once.latents.values);
}

// How often another rank's thread than before computes.
int changes_of_thread(const GenerationRequest& drawn) {
  std::mutex mutex;
  std::vector<std::thread::id> callers;
  const CallWatch watch([&](const std::string& name) {
    if (name != "aten::upsample_nearest2d") return;
    const std::lock_guard lock(mutex);
    if (callers.empty() || callers.back() != std::this_thread::get_id()) {
      callers.push_back(std::this_thread::get_id());
    }
  });
  pipeline().generate(drawn);
  return static_cast<int>(callers.size());
}

TEST(Turns, OneRankComputesAtATime) {
  GenerationRequest drawn = request();
  drawn.parallel = ParallelConfig::naive();  // all steps are steady
  drawn.ranks_in_turn = true;
  EXPECT_EQ(changes_of_thread(drawn), kRanks * drawn.steps);
}

TEST(Turns, AreRefusedWhereRanksCannotComputeOneByOne) {
  GenerationRequest in_turn = request();
  in_turn.ranks_in_turn = true;
  GenerationRequest traced = in_turn;
  traced.trace = true;
  expect_error<ConfigError>([&] { pipeline().generate(traced); }, {"trace"});
  GenerationRequest automatic = in_turn;
  automatic.automatic = true;
  expect_error<ConfigError>([&] { pipeline().generate(automatic); }, {"ranks_in_turn"});
  GenerationRequest synchronous = in_turn;
  synchronous.parallel.group_norm = GroupNormMode::synchronous;
  expect_error<ConfigError>([&] { pipeline().generate(synchronous); }, {"GroupNorm", "stale"});
  synchronous.parallel.reach = Reach::none;  // then it reads nobody's moments
  EXPECT_NO_THROW(pipeline().generate(synchronous));
}

}  // namespace
}  // namespace pcpp
