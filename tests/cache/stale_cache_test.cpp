#include "cache/stale_cache.h"

#include <gtest/gtest.h>

#include <memory>

#include "cache/cache_steps.h"
#include "parallel/local_transport.h"
#include "parallel/rank_group.h"
#include "pcpp/error.h"

namespace pcpp {
namespace {

using testing::kColumns;
using testing::kRows;
using testing::own_rows;

constexpr auto kTimeout = std::chrono::minutes(1);

class StaleCacheTest : public ::testing::TestWithParam<testing::MethodCase> {};

TEST_P(StaleCacheTest, ReadsThisStepsRowsThenExactlyTheStepBeforeWhateverTheDelays) {
  for (const testing::TransportCase& transport : testing::local_cases()) {
    SCOPED_TRACE(transport.name);
    testing::run_steps(GetParam(), *transport.make(GetParam().ranks));
  }
}

INSTANTIATE_TEST_SUITE_P(Methods, StaleCacheTest, ::testing::ValuesIn(testing::method_cases()),
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
