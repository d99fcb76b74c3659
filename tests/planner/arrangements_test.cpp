#include "planner/arrangements.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <numeric>
#include <stop_token>

#include "cache/exchange_plan.h"
#include "models/unet.h"
#include "ops/weight_scope.h"
#include "pcpp/error.h"
#include "planner/configs.h"
#include "planner/network_work.h"

namespace pcpp {
namespace {

constexpr double kBounds[] = {8.8, 10.9, 16.4};
constexpr std::int64_t kSides[] = {128, 256, 480};

WorkShape square(std::int64_t side) { return {side, side, 1, 2}; }

// The run of `runs` on `ranks` with batched guidance.
const PlannedRun& find_run(const std::vector<PlannedRun>& runs, int ranks, bool balanced = false,
                           Guidance guidance = Guidance::batched) {
  return *std::find_if(runs.begin(), runs.end(), [&](const PlannedRun& run) {
    return run.ranks == ranks && run.balanced == balanced && run.parallel.guidance == guidance;
  });
}

TEST(PlanArrangements, BoundsOfSdxlOnEightBandsAreThoseOfTheMethod) {
  for (std::size_t i = 0; i < 3; ++i) {
    const auto runs = plan_arrangements(published_config("sdxl"), square(kSides[i]), 8,
                                        {ParallelConfig::pcpp()}, counting_profile());
    const PlannedRun& eight = find_run(runs, 8);
    EXPECT_NEAR(runs.front().mean_flops / eight.slowest_flops, kBounds[i], 0.06) << kSides[i];
    EXPECT_NEAR(eight.speedup, runs.front().mean_flops / eight.slowest_flops, 1e-6);
  }
}

// What a rank sends in a steady step, the mean: of SDXL at 1024x1024, one branch in 16 bits.
SiteBytes mean_sent(const UNet& unet, const ParallelConfig& method, int ranks) {
  const Topology topology(ranks, method.guidance, 1, 128, unet.row_unit());
  const ExchangePlan plan(unet.sites().sites(), topology, method,
                          {128, 128, 4, 1, DataType::float16});
  SiteBytes sent;
  for (int rank = 0; rank < ranks; ++rank) sent += plan.sent_bytes(rank, StepKind::steady);
  return {sent.attention / ranks, sent.halo / ranks, sent.group_norm / ranks, sent.gather / ranks};
}

TEST(PlanArrangements, BytesAreThoseOfTheExchangePlan) {
  DeviceProfile profile = counting_profile();
  profile.dtype = DataType::bfloat16;
  const UNet unet(published_config("sdxl"), WeightScope::shapes_only());
  for (const ParallelConfig& method :
       {ParallelConfig::distrifusion(), ParallelConfig::pcpp(), ParallelConfig::naive()}) {
    for (const int ranks : {2, 3, 8}) {
      const auto runs =
          plan_arrangements(published_config("sdxl"), {128, 128, 1, 1}, ranks, {method}, profile);
      const SiteBytes& sent = find_run(runs, ranks).sent;
      EXPECT_EQ(sent, mean_sent(unet, method, ranks)) << ranks << " ranks";
      EXPECT_EQ(sent.attention + sent.halo > 0, method.reach != Reach::none);
      EXPECT_GT(sent.gather, 0);
    }
  }
}

TEST(PlanArrangements, PooledTokensAreReadToo) {
  const auto flops = [](int pool) {
    ParallelConfig method = ParallelConfig::pcpp(0);
    method.pool = pool;
    return find_run(plan_arrangements(published_config("sd15"), square(64), 2, {method},
                                      counting_profile()),
                    2)
        .mean_flops;
  };
  // Half of the tokens one by one; the other half too where each is its own mean.
  const double unread = flops(0);
  const double all =
      find_run(plan_arrangements(published_config("sd15"), square(64), 2,
                                 {ParallelConfig::distrifusion()}, counting_profile()),
               2)
          .mean_flops;
  EXPECT_NEAR(flops(1), all, 1e-9 * all);
  EXPECT_NEAR(flops(4), unread + (all - unread) / 4, 1e-3 * all);
}

TEST(PlanArrangements, EdgeBandsGetMoreRowsWhereAttentionRules) {
  const auto runs = plan_arrangements(published_config("sdxl"), square(480), 4,
                                      {ParallelConfig::pcpp()}, counting_profile());
  const PlannedRun& equal = find_run(runs, 4);
  const PlannedRun& balanced = find_run(runs, 4, true);
  const std::vector<int>& bands = balanced.parallel.bands;
  ASSERT_EQ(bands.size(), 4U);
  EXPECT_EQ(std::accumulate(bands.begin(), bands.end(), 0), 480);
  EXPECT_GT(bands.front(), bands[1]);
  EXPECT_GT(bands.back(), bands[2]);
  EXPECT_LT(balanced.slowest_flops, equal.slowest_flops);
  EXPECT_GT(balanced.speedup, equal.speedup);
  EXPECT_NEAR(balanced.slowest_flops / balanced.mean_flops, 1, 0.02);
}

// By costing every band of every try anew it would take many minutes.
TEST(PlanArrangements, BalancesManyBands) {
  const auto runs = plan_arrangements(published_config("sd15"), {576, 64, 1, 1}, 72,
                                      {ParallelConfig::pcpp()}, counting_profile());
  int most_ranks = 0;
  for (std::size_t i = 1; i < runs.size(); ++i) {
    if (!runs[i].balanced) continue;
    most_ranks = runs[i].ranks;
    EXPECT_LE(runs[i].slowest_flops, runs[i - 1].slowest_flops) << most_ranks << " ranks";
  }
  EXPECT_GT(most_ranks, 20);
}

TEST(PlanArrangements, LeavesOutWhatCannotBe) {
  // 16 rows of SD1.5: at most two bands; without guidance nothing to split.
  const auto runs = plan_arrangements(published_config("sd15"), {16, 16, 1, 1}, 4,
                                      {ParallelConfig::pcpp()}, counting_profile());
  ASSERT_EQ(runs.size(), 2U);
  EXPECT_EQ(runs[0].ranks, 1);
  EXPECT_EQ(runs[1].ranks, 2);
  EXPECT_EQ(runs[1].parallel.bands, (std::vector<int>{8, 8}));
  const auto guided = plan_arrangements(published_config("sd15"), square(16), 4,
                                        {ParallelConfig::pcpp()}, counting_profile());
  EXPECT_EQ(find_run(guided, 4, false, Guidance::split).parallel.bands, (std::vector<int>{8, 8}));
}

// Seconds that a link of any allowed rate can be slow beside, with the same mantissas.
constexpr double kScale = 0x1p40;
DeviceProfile scaled_profile() {
  DeviceProfile profile = counting_profile();
  for (RateCurve& curve : profile.curves) {
    for (RateCurve::Point& point : curve.points) point.seconds /= kScale;
  }
  return profile;
}

class PlanMethodArrangements : public ::testing::TestWithParam<ParallelConfig> {};

INSTANTIATE_TEST_SUITE_P(Methods, PlanMethodArrangements,
                         ::testing::Values(ParallelConfig::distrifusion(), ParallelConfig::pcpp()),
                         [](const auto& suite) {
                           return suite.param.reach == Reach::all ? "distrifusion" : "pcpp";
                         });

TEST_P(PlanMethodArrangements, ALinkHidesWhatFitsIntoAStep) {
  DeviceProfile profile = scaled_profile();
  const auto plan = [&](double bytes_per_second) {
    profile.link = Link{"test", bytes_per_second, 0, false};
    return find_run(
        plan_arrangements(published_config("sd15"), square(64), 2, {GetParam()}, profile), 2);
  };
  const PlannedRun fast = plan(1e3 * kScale);
  const double gather_ms = 1e3 * static_cast<double>(fast.sent.gather) / (1e3 * kScale);
  EXPECT_NEAR(fast.exposed_ms, gather_ms, 1e-6 * gather_ms);
  const double slow_rate = 1e-6 * kScale;
  const PlannedRun slow = plan(slow_rate);
  // The rank that sends most sends a little more than the mean: a downsampler has one halo row, and
  // tokens are cut outwards above.
  EXPECT_NEAR(slow.step_ms / (1e3 * static_cast<double>(slow.sent.total()) / slow_rate), 1, 1e-2);
}

TEST(PlanArrangements, ALinkDelaysNoneWhoSendNothing) {
  DeviceProfile profile = scaled_profile();
  profile.link = Link{"test", 1e12, 10, false};
  const auto runs = plan_arrangements(published_config("sd15"), square(64), 2,
                                      {ParallelConfig::naive()}, profile);
  EXPECT_LT(runs.front().step_ms, 5e3);
  EXPECT_EQ(runs.front().exposed_ms, 0);
  EXPECT_NEAR(find_run(runs, 2).exposed_ms, 10e3, 1);  // the gather alone
}

TEST(PlanArrangements, PackingCostsTheBytesThatTheNextStepReads) {
  DeviceProfile profile = counting_profile();
  constexpr double kSecondsOfByte = 1e6;
  profile.curves.push_back({WorkKind::exchange, "", 1, {{0, 0}, {1, kSecondsOfByte}}});
  const auto run = [&](GroupNormMode mode) {
    ParallelConfig method = ParallelConfig::pcpp();
    method.group_norm = mode;
    return find_run(plan_arrangements(published_config("sd15"), square(64), 2, {method}, profile),
                    2);
  };
  const PlannedRun stale = run(GroupNormMode::stale);
  const double fresh_ms = run(GroupNormMode::synchronous).step_ms;
  EXPECT_NEAR((stale.step_ms - fresh_ms) / 1e3 / kSecondsOfByte,
              static_cast<double>(stale.sent.group_norm), 1);
}

TEST(PlanArrangements, ElementwiseWorkCostsItsBytes) {
  DeviceProfile profile = counting_profile();
  const auto step_ms = [&] {
    return plan_arrangements(published_config("sd15"), square(64), 1, {}, profile).front().step_ms;
  };
  const double free_ms = step_ms();
  const auto elementwise =
      std::ranges::find(profile.curves, WorkKind::elementwise, &RateCurve::kind);
  elementwise->points = {{0, 0}, {1, 1e3}};
  NetworkWork network(published_config("sd15"), DataType::float32, 64);
  const double bytes = network.of(64, 2).elementwise_bytes;
  EXPECT_GT(bytes, 0);
  EXPECT_NEAR((step_ms() - free_ms) / 1e6 / bytes, 1, 1e-6);
}

TEST(PlanArrangements, SynchronousStatisticsWaitForTheLinkAtEverySite) {
  DeviceProfile profile = counting_profile();
  profile.link = Link{"test", 1e12, 1, false};
  const auto exposed_ms = [&](GroupNormMode mode) {
    ParallelConfig method = ParallelConfig::pcpp();
    method.group_norm = mode;
    return find_run(plan_arrangements(published_config("sd15"), square(64), 2, {method}, profile),
                    2)
        .exposed_ms;
  };
  // 22 residual blocks of two GroupNorms, 16 transformers of one, and the last.
  constexpr double kGroupNorms = 22 * 2 + 16 + 1;
  EXPECT_NEAR(exposed_ms(GroupNormMode::synchronous) - exposed_ms(GroupNormMode::corrected),
              1e3 * kGroupNorms, 1);
}

TEST(PlanArrangements, OneDeviceIsFastestOverASlowLinkAndAllOverAFastOne) {
  DeviceProfile profile = scaled_profile();
  const auto fastest = [&](double bytes_per_second) {
    profile.link = Link{"test", bytes_per_second, 0, false};
    Plan plan;
    plan.runs = plan_arrangements(published_config("sd15"), square(64), 4, {ParallelConfig::pcpp()},
                                  profile);
    return plan.fastest().ranks;
  };
  EXPECT_EQ(fastest(1e-9 * kScale), 1);
  EXPECT_EQ(fastest(1e9 * kScale), 4);
}

TEST(PlanArrangements, WhatDoesNotFitIsNotTheFastest) {
  DeviceProfile profile = counting_profile();
  Plan plan;
  const auto replan = [&] {
    plan.runs = plan_arrangements(published_config("sd15"), square(64), 2,
                                  {ParallelConfig::distrifusion()}, profile);
  };
  replan();
  EXPECT_TRUE(plan.runs.front().fits);
  const std::int64_t most = plan.runs.front().memory_bytes();
  EXPECT_GT(most, plan.runs.back().memory_bytes());
  profile.memory_bytes = most - 1;
  replan();
  EXPECT_FALSE(plan.runs.front().fits);
  EXPECT_EQ(plan.fastest().ranks, 2);
}

TEST(PlanArrangements, CountsTheExtraWeightsOfTheProfile) {
  DeviceProfile profile = counting_profile();
  const auto bytes = [&] {
    return plan_arrangements(published_config("sd15"), square(64), 1, {}, profile)
        .front()
        .memory_bytes();
  };
  const std::int64_t plain = bytes();
  profile.extra_weight_bytes = 1000;
  EXPECT_EQ(bytes(), plain + 1000);
}

TEST(PlanArrangements, RefusesAProfileThatNothingCanBeReadFrom) {
  const auto plan_with = [](const auto& spoil) {
    DeviceProfile profile = counting_profile();
    spoil(profile);
    return plan_arrangements(published_config("sd15"), square(64), 2, {}, profile);
  };
  EXPECT_NO_THROW(plan_with([](DeviceProfile&) {}));
  EXPECT_THROW(plan_with([](DeviceProfile& p) { p.curves[0].points.clear(); }), ConfigError);
  EXPECT_THROW(plan_with([](DeviceProfile& p) { p.curves[3].points[1].work = 0; }), ConfigError);
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  for (const double work : {-0.5, kInfinity}) {
    EXPECT_THROW(plan_with([&](DeviceProfile& p) { p.curves[0].points[0].work = work; }),
                 ConfigError);
  }
  for (const double seconds : {-0.5, kInfinity}) {
    EXPECT_THROW(plan_with([&](DeviceProfile& p) { p.curves[0].points[0].seconds = seconds; }),
                 ConfigError);
  }
  EXPECT_NO_THROW(plan_with([](DeviceProfile& p) { p.curves.push_back(p.curves[0]); }));
  for (const int devices : {0, World::kMostRanks + 1}) {
    EXPECT_THROW(plan_with([&](DeviceProfile& p) {
                   p.curves.push_back(p.curves[0]);
                   p.curves.back().devices = devices;
                 }),
                 ConfigError);
  }
  EXPECT_THROW(plan_with([](DeviceProfile& p) {
                 p.link = Link{"none", 0, 0, false};
               }),
               ConfigError);
  EXPECT_THROW((void)Plan().fastest(), ConfigError);
}

TEST(PlanArrangements, AStopEndsIt) {
  std::stop_source source;
  source.request_stop();
  EXPECT_THROW(plan_arrangements(published_config("sd15"), square(64), 2, {ParallelConfig::pcpp()},
                                 counting_profile(), source.get_token()),
               Cancelled);
}

TEST(PlanArrangements, RefusesSettingsOutOfRange) {
  for (const int devices : {0, World::kMostRanks + 1}) {
    EXPECT_THROW(
        plan_arrangements(published_config("sd15"), square(64), devices, {}, counting_profile()),
        ConfigError);
  }
  EXPECT_THROW(plan_arrangements(published_config("sd15"), square(64), 2,
                                 {ParallelConfig::pcpp(1.5)}, counting_profile()),
               ConfigError);
}

}  // namespace
}  // namespace pcpp
