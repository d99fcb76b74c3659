#include "cache/stale_cache.h"

#include <gtest/gtest.h>

#include <cstring>
#include <memory>

#include "cache/noise_gather.h"
#include "parallel/rank_group.h"
#include "pcpp/error.h"
#include "support/couriers.h"

namespace pcpp {
namespace {

using testing::LazyCourier;
using testing::RandomCourier;

constexpr auto kTimeout = std::chrono::minutes(1);
constexpr std::int64_t kRows = 21;
constexpr std::int64_t kColumns = 6;
constexpr int kSteps = 7;
constexpr int kSyncSteps = 2;

// Enough sites for several bundles, of every kind and of two levels.
std::vector<Site> sites() {
  std::vector<Site> sites;
  for (int i = 0; i < 9; ++i) {
    sites.push_back({"norm", SiteKind::group_norm, i % 3, 2, 0, 0});
    sites.push_back({"conv", SiteKind::halo, i % 3, 3, 1, 1});
    sites.push_back({"attn", SiteKind::attention, i % 3, 4, 0, 0});
    sites.push_back({"down", SiteKind::halo, i % 2, 3, 1, 0});
  }
  return sites;
}

// Row `row` of `site` in `step`, one value a row and branch: what a reader must find.
std::byte value_at(int step, SiteId site, std::int64_t branch, std::int64_t row) {
  return static_cast<std::byte>((step * 61 + site * 17 + branch * 101 + row * 7 + 3) % 251);
}

std::vector<std::byte> own_rows(const ExchangePlan& plan, int patch, int step, SiteId site) {
  const SitePlan& site_plan = plan.site(site);
  const RowRange owned = site_plan.owned[static_cast<std::size_t>(patch)];
  std::vector<std::byte> data;
  for (std::int64_t branch = 0; branch < plan.batch(); ++branch) {
    for (std::int64_t row = owned.begin; row < owned.end; ++row) {
      data.insert(data.end(), static_cast<std::size_t>(site_plan.row_bytes),
                  value_at(step, site, branch, row));
    }
  }
  return data;
}

// The rows of others that `reading` holds must be exactly the planned ones, of step `step`.
void expect_reading(const ExchangePlan& plan, int patch, int step, SiteId site, StepKind kind,
                    const Reading& reading) {
  const SitePlan& site_plan = plan.site(site);
  const RowRange reads = site_plan.reads(kind)[static_cast<std::size_t>(patch)];
  const RowRange owned = site_plan.owned[static_cast<std::size_t>(patch)];
  std::int64_t next = reads.begin;
  for (const Piece& piece : reading.pieces) {
    if (next == owned.begin) next = owned.end;
    ASSERT_EQ(piece.rows.begin, next);
    next = piece.rows.end;
    for (std::int64_t branch = 0; branch < plan.batch(); ++branch) {
      for (std::int64_t row = 0; row < piece.rows.size(); ++row) {
        const std::byte* data =
            piece.data + (branch * piece.rows.size() + row) * site_plan.row_bytes;
        for (std::int64_t i = 0; i < site_plan.row_bytes; ++i) {
          ASSERT_EQ(data[i], value_at(step, site, branch, piece.rows.begin + row))
              << "site " << site << " step " << step << " row " << piece.rows.begin + row;
        }
      }
    }
  }
  if (next == owned.begin) next = owned.end;
  ASSERT_EQ(next, reads.end);
}

StepKind kind_of(int step) { return step < kSyncSteps ? StepKind::synchronous : StepKind::steady; }

// One rank's steps, each reading checked, each step's bytes compared with the plan's.
void run_steps(const ExchangePlan& plan, Transport& transport) {
  StaleCache cache(plan, transport, kTimeout);
  NoiseGather gather(plan, transport, kTimeout);
  const int patch = plan.topology().patch_of(transport.rank());
  for (int step = 0; step < kSteps; ++step) {
    const bool last = step + 1 == kSteps;
    const StepKind kind = kind_of(step);
    cache.begin_step(kind, last ? std::nullopt : std::optional(kind_of(step + 1)));
    for (SiteId site = 0; site < static_cast<SiteId>(plan.sites().size()); ++site) {
      const std::vector<std::byte> own = own_rows(plan, patch, step, site);
      const SitePlan& site_plan = plan.site(site);
      const bool fresh = kind == StepKind::synchronous || site_plan.always_fresh;
      const auto stride = static_cast<std::int64_t>(own.size()) / plan.batch();
      const Reading reading = cache.swap(site, own.data(), stride);
      const int read_step = fresh ? step : step - 1;
      expect_reading(plan, patch, read_step, site, kind, reading);
      ASSERT_EQ(reading.own_previous != nullptr, site_plan.keeps_own);
      if (site_plan.keeps_own) {
        const std::vector<std::byte> kept = own_rows(plan, patch, read_step, site);
        ASSERT_EQ(std::memcmp(reading.own_previous, kept.data(), kept.size()), 0);
      }
    }
    cache.end_step();
    const std::vector<std::byte> noise(
        static_cast<std::size_t>(plan.noise_bytes(transport.rank())));
    gather.run(noise.data());
    SiteBytes planned = plan.sent_bytes(transport.rank(), kind);
    planned.gather = 0;
    if (last) continue;
    EXPECT_EQ(cache.sent(), planned);
  }
}

struct Case {
  std::string name;
  ParallelConfig config;
  int ranks;
};

class StaleCacheTest : public ::testing::TestWithParam<Case> {
 protected:
  static ExchangePlan plan() {
    const Case& c = GetParam();
    const Topology topology(c.ranks, c.config.guidance, 2, kRows, 4);
    return {sites(), topology, c.config, {kRows, kColumns, 4, 1, 4}};
  }
};

TEST_P(StaleCacheTest, ReadsThisStepsRowsThenExactlyTheStepBefore) {
  const ExchangePlan plan = StaleCacheTest::plan();
  LocalHub hub(GetParam().ranks);
  run_ranks(hub, [&](Transport& transport) { run_steps(plan, transport); });
}

TEST_P(StaleCacheTest, DelaysAndReorderingChangeNothing) {
  const ExchangePlan plan = StaleCacheTest::plan();
  RandomCourier random(5);
  LazyCourier lazy;
  for (Courier* courier : std::initializer_list<Courier*>{&random, &lazy}) {
    LocalHub hub(GetParam().ranks, courier);
    run_ranks(hub, [&](Transport& transport) { run_steps(plan, transport); });
  }
}

ParallelConfig with_group_norm(GroupNormMode mode) {
  ParallelConfig config = ParallelConfig::pcpp();
  config.group_norm = mode;
  return config;
}

ParallelConfig split(ParallelConfig config) {
  config.guidance = Guidance::split;
  return config;
}

INSTANTIATE_TEST_SUITE_P(
    Methods, StaleCacheTest,
    ::testing::Values(
        Case{"single", ParallelConfig::pcpp(), 1}, Case{"pcpp_2", ParallelConfig::pcpp(), 2},
        Case{"pcpp_5", ParallelConfig::pcpp(0.37), 5}, Case{"pcpp_0", ParallelConfig::pcpp(0), 3},
        Case{"pcpp_1", ParallelConfig::pcpp(1), 3}, Case{"naive_3", ParallelConfig::naive(), 3},
        Case{"distrifusion_4", ParallelConfig::distrifusion(), 4},
        Case{"distrifusion_6", ParallelConfig::distrifusion(), 6},
        Case{"pcpp_split_6", split(ParallelConfig::pcpp()), 6},
        Case{"stale", with_group_norm(GroupNormMode::stale), 3},
        Case{"local", with_group_norm(GroupNormMode::local), 3},
        Case{"synchronous", with_group_norm(GroupNormMode::synchronous), 3}),
    [](const auto& suite) { return suite.param.name; });

TEST(StaleCache, SendsNothingThatNobodyWillRead) {
  const ParallelConfig config = ParallelConfig::pcpp();
  const Topology topology(1 + 1, config.guidance, 2, kRows, 4);
  const std::vector<Site> some = {{"conv", SiteKind::halo, 0, 3, 1, 1}};
  const ExchangePlan plan(some, topology, config, {kRows, kColumns, 4, 1, 4});
  LocalHub hub(2);
  run_ranks(hub, [&](Transport& transport) {
    StaleCache cache(plan, transport, kTimeout);
    const int patch = transport.rank();
    const auto step = [&](StepKind kind, std::optional<StepKind> next) {
      cache.begin_step(kind, next);
      const std::vector<std::byte> own = own_rows(plan, patch, 0, 0);
      cache.swap(0, own.data(), static_cast<std::int64_t>(own.size()) / plan.batch());
      cache.end_step();
    };
    step(StepKind::synchronous, StepKind::steady);
    step(StepKind::steady, StepKind::synchronous);
    EXPECT_EQ(cache.sent(), SiteBytes{});
    step(StepKind::synchronous, StepKind::steady);
    step(StepKind::steady, std::nullopt);
    EXPECT_EQ(cache.sent(), SiteBytes{});
  });
}

TEST(StaleCache, RefusesMisuse) {
  const ParallelConfig config = ParallelConfig::pcpp();
  const Topology topology(2, config.guidance, 2, kRows, 4);
  const std::vector<Site> two = {{"a", SiteKind::halo, 0, 3, 1, 1},
                                 {"b", SiteKind::halo, 0, 3, 1, 1}};
  const ExchangePlan plan(two, topology, config, {kRows, kColumns, 4, 1, 4});
  LocalHub hub(2);
  const std::unique_ptr<Transport> transport = hub.endpoint(0);
  StaleCache cache(plan, *transport, kTimeout);
  EXPECT_THROW(cache.begin_step(StepKind::steady, std::nullopt), std::logic_error);
  cache.begin_step(StepKind::synchronous, std::nullopt);
  EXPECT_THROW(cache.begin_step(StepKind::synchronous, std::nullopt), std::logic_error);
  const std::vector<std::byte> own = own_rows(plan, 0, 0, 0);
  const auto stride = static_cast<std::int64_t>(own.size()) / plan.batch();
  EXPECT_THROW(cache.swap(1, own.data(), stride), std::logic_error);
  EXPECT_THROW(cache.end_step(), std::logic_error);
}

TEST(StaleCache, AStopEndsTheNextSwap) {
  const ParallelConfig config = ParallelConfig::pcpp();
  const Topology topology(1, config.guidance, 2, kRows, 4);
  const std::vector<Site> one = {{"a", SiteKind::halo, 0, 3, 1, 1}};
  const ExchangePlan plan(one, topology, config, {kRows, kColumns, 4, 1, 4});
  LocalHub hub(1);
  const std::unique_ptr<Transport> transport = hub.endpoint(0);
  std::stop_source source;
  StaleCache cache(plan, *transport, kTimeout, source.get_token());
  cache.begin_step(StepKind::synchronous, std::nullopt);
  source.request_stop();
  const std::vector<std::byte> own = own_rows(plan, 0, 0, 0);
  EXPECT_THROW(cache.swap(0, own.data(), static_cast<std::int64_t>(own.size()) / plan.batch()),
               Cancelled);
}

}  // namespace
}  // namespace pcpp
