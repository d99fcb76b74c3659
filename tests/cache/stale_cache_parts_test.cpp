// Parts of a network that steps leave out.
#include <gtest/gtest.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <stdexcept>
#include <utility>
#include <vector>

#include "cache/cache_steps.h"
#include "cache/noise_gather.h"
#include "cache/stale_cache.h"
#include "parallel/local_transport.h"
#include "parallel/rank_group.h"
#include "support/couriers.h"

namespace pcpp {
namespace {

using testing::kColumns;
using testing::kRows;
using testing::own_rows;
using testing::RandomCourier;

constexpr auto kTimeout = std::chrono::minutes(1);

// The rows of a piece, [batch, rows, bytes], out of those of the patch that owns them.
std::vector<std::byte> own_rows_of(const ExchangePlan& plan, int step, SiteId id,
                                   const RowRange& rows) {
  const SitePlan& site = plan.site(id);
  int patch = 0;
  while (intersect(site.owned[static_cast<std::size_t>(patch)], rows).empty()) ++patch;
  const RowRange owned = site.owned[static_cast<std::size_t>(patch)];
  const std::vector<std::byte> own = own_rows(plan, patch, step, id);
  std::vector<std::byte> result;
  for (std::int64_t item = 0; item < plan.batch(); ++item) {
    const auto first =
        own.begin() + (item * owned.size() + rows.begin - owned.begin) * site.row_bytes;
    result.insert(result.end(), first, first + rows.size() * site.row_bytes);
  }
  return result;
}

Reading swap(StaleCache& cache, const ExchangePlan& plan, int rank, int step, SiteId id) {
  const std::vector<std::byte> own = own_rows(plan, rank, step, id);
  return cache.swap(id, own.data(), static_cast<std::int64_t>(own.size()) / plan.batch());
}

// The middle one of three parts comes back in a synchronous step only, whatever the delays.
TEST(StaleCacheParts, AreLeftOutAndTakenUpAgain) {
  constexpr StepKind kFresh = StepKind::synchronous;
  constexpr StepKind kStale = StepKind::steady;
  const std::vector<std::pair<StepKind, bool>> steps = {
      {kFresh, false}, {kFresh, true}, {kStale, true}, {kStale, false}, {kStale, false},
      {kFresh, false}, {kFresh, true}, {kStale, true}, {kStale, true},  {kStale, false},
      {kFresh, true},  {kStale, true}};  // and whether the part runs
  std::vector<Site> some(4, {"conv", SiteKind::halo, 0, 3, 1, 1});
  some[1].part = some[2].part = 1;
  some[3].part = 2;
  const Topology topology(3, Guidance::batched, 2, kRows, 4);
  const ExchangePlan plan(some, topology, ParallelConfig::pcpp(), {kRows, kColumns, 4, 1});
  EXPECT_EQ(plan.bundles(), (std::vector<std::vector<SiteId>>{{0}, {1, 2}, {3}}));
  RandomCourier random(7);
  LocalHub hub(3, &random);
  run_ranks(hub, [&](Transport& transport) {
    StaleCache cache(plan, transport, kTimeout);
    NoiseGather gather(plan, transport, kTimeout);
    for (int step = 0; step < static_cast<int>(steps.size()); ++step) {
      const auto [kind, runs] = steps[static_cast<std::size_t>(step)];
      const bool last = step + 1 == static_cast<int>(steps.size());
      cache.begin_step(kind, last ? std::nullopt
                                  : std::optional(steps[static_cast<std::size_t>(step) + 1].first));
      for (const SiteId id : {0, 1, 2, 3}) {
        if (id == 1 && !runs) cache.leave_out(3);
        if (id == 1 && runs && !last && !steps[static_cast<std::size_t>(step) + 1].second) {
          cache.send_nothing(3);
        }
        if ((id == 1 || id == 2) && !runs) continue;
        const Reading reading = swap(cache, plan, transport.rank(), step, id);
        EXPECT_EQ(reading.pieces.size(), transport.rank() == 1 ? 2U : 1U);
        for (const Piece& piece : reading.pieces) {
          const std::vector<std::byte> expected =
              own_rows_of(plan, kind == kFresh ? step : step - 1, id, piece.rows);
          EXPECT_EQ(std::memcmp(piece.data, expected.data(), expected.size()), 0)
              << "site " << id << ", step " << step;
        }
      }
      cache.end_step();
      const std::vector<std::byte> noise(
          static_cast<std::size_t>(plan.noise_bytes(transport.rank())));
      gather.run(noise.data());
    }
  });
}

TEST(StaleCacheParts, SendNothingWhereTheNextStepLeavesThemOut) {
  std::vector<Site> some(3, {"conv", SiteKind::halo, 0, 3, 1, 1});
  some[1].part = 1;
  some[2].part = 2;
  const ExchangePlan plan(some, Topology(2, Guidance::batched, 2, kRows, 4), ParallelConfig::pcpp(),
                          {kRows, kColumns, 4, 1});
  LocalHub hub(2);
  run_ranks(hub, [&](Transport& transport) {
    StaleCache cache(plan, transport, kTimeout);
    const auto sent_behind = [&](SiteId id) {
      swap(cache, plan, transport.rank(), 0, id);
      return cache.sent().halo;
    };
    EXPECT_THROW(cache.send_nothing(1), std::logic_error);  // in no step
    cache.begin_step(StepKind::synchronous, StepKind::steady);
    for (const SiteId id : {0, 1, 2}) sent_behind(id);
    cache.end_step();
    cache.begin_step(StepKind::steady, StepKind::steady);
    const std::int64_t first = sent_behind(0);
    EXPECT_GT(first, 0);
    EXPECT_THROW(cache.send_nothing(0), std::logic_error);
    EXPECT_THROW(cache.send_nothing(4), std::logic_error);
    cache.send_nothing(2);
    EXPECT_EQ(sent_behind(1), first);
    EXPECT_GT(sent_behind(2), first);
    cache.end_step();
    cache.begin_step(StepKind::steady, StepKind::steady);
    EXPECT_EQ(sent_behind(0), first);
    cache.leave_out(2);
    EXPECT_GT(sent_behind(2), first);
    cache.end_step();
  });
}

TEST(StaleCacheParts, AreNotLeftOutAtAnyTime) {
  std::vector<Site> two(2, {"conv", SiteKind::halo, 0, 3, 1, 1});
  two[1].part = 1;
  const ExchangePlan plan(two, Topology(2, Guidance::batched, 2, kRows, 4), ParallelConfig::pcpp(),
                          {kRows, kColumns, 4, 1});
  LocalHub hub(2);
  run_ranks(hub, [&](Transport& transport) {
    StaleCache cache(plan, transport, kTimeout);
    const auto swap_one = [&](SiteId id) { swap(cache, plan, transport.rank(), 0, id); };
    EXPECT_THROW(cache.leave_out(1), std::logic_error);  // in no step
    cache.begin_step(StepKind::synchronous, StepKind::steady);
    swap_one(0);
    EXPECT_THROW(cache.leave_out(0), std::logic_error);
    EXPECT_THROW(cache.leave_out(3), std::logic_error);
    cache.leave_out(2);
    cache.end_step();
    cache.begin_step(StepKind::steady, std::nullopt);
    swap_one(0);
    EXPECT_THROW(swap_one(1), std::logic_error);
  });
  LocalHub other(2);
  run_ranks(other, [&](Transport& transport) {
    StaleCache cache(plan, transport, kTimeout);
    const auto step = [&](StepKind kind) {
      cache.begin_step(kind, StepKind::steady);
      for (const SiteId id : {0, 1}) swap(cache, plan, transport.rank(), 0, id);
      cache.end_step();
    };
    step(StepKind::synchronous);
    step(StepKind::steady);
    cache.begin_step(StepKind::steady, std::nullopt);
    swap(cache, plan, transport.rank(), 0, 0);
    EXPECT_THROW(cache.leave_out(2), std::logic_error);  // its rows are under way
  });
}

}  // namespace
}  // namespace pcpp
