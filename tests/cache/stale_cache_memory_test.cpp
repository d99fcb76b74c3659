// What memory the stale cache takes, and how what travels lies in it.

#include <gtest/gtest.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "cache/cache_steps.h"
#include "cache/noise_gather.h"
#include "cache/stale_cache.h"
#include "parallel/forwarding_transport.h"
#include "parallel/local_transport.h"

namespace pcpp {
namespace {

using testing::kColumns;
using testing::kRows;
using testing::sites;

constexpr auto kTimeout = std::chrono::minutes(1);

// Adds up what is allocated.
class AllocationCounter final : public ForwardingTransport {
 public:
  using ForwardingTransport::ForwardingTransport;
  std::byte* allocate(std::size_t bytes) override {
    allocated += static_cast<std::int64_t>(bytes);
    return ForwardingTransport::allocate(bytes);
  }
  std::int64_t allocated = 0;
};

TEST(StaleCacheMemory, IsWhatThePlanSaysOfStaleRowsAndOfBuffers) {
  for (const testing::MethodCase& method : testing::method_cases()) {
    SCOPED_TRACE(method.name);
    const ExchangePlan plan = method.plan();
    LocalHub hub(method.ranks);
    for (int rank = 0; rank < method.ranks; ++rank) {
      const std::unique_ptr<Transport> endpoint = hub.endpoint(rank);
      AllocationCounter transport(*endpoint);
      const StaleCache cache(plan, transport, kTimeout);
      EXPECT_EQ(transport.allocated, plan.stale_bytes(rank) + buffer_bytes(plan, rank)) << rank;
    }
  }
}

TEST(StaleCacheMemory, HoldsNoMoreThanExactRowsNeed) {
  const Topology topology(2, Guidance::batched, 2, kRows, 4);
  const std::vector<Site> one = {{"conv", SiteKind::halo, 0, 3, 1, 1}};
  const ExchangePlan plan(one, topology, ParallelConfig::pcpp(), {kRows, kColumns, 4, 1});
  constexpr std::int64_t kMessage = 2 * (kColumns * 3 * 4);  // a row of each branch
  EXPECT_EQ(plan.stale_bytes(0), 2 * kMessage);
  // What is sent and received in a synchronous step, and sent in a steady one.
  EXPECT_EQ(buffer_bytes(plan, 0), 3 * kMessage);
}

class RecordingTransport final : public ForwardingTransport {
 public:
  using ForwardingTransport::ForwardingTransport;
  ExchangeId prepare(std::int64_t tag, Lane lane, Exchange exchange) override {
    prepared.emplace_back(lane, exchange);
    return ForwardingTransport::prepare(tag, lane, std::move(exchange));
  }
  std::vector<std::pair<Lane, Exchange>> prepared;
};

// Those of two neighbours whose rows take a byte more than a vector.
TEST(StaleCacheMemory, PiecesLieApartAtVectors) {
  ParallelConfig config = ParallelConfig::pcpp();
  config.row_format = RowFormat::int8;
  const Topology topology(3, config.guidance, 1, kRows, 4);
  const std::vector<Site> one = {{"conv", SiteKind::halo, 0, 1, 1, 1}};
  const ExchangePlan plan(one, topology, config, {kRows, 13, 4, 1});
  LocalHub hub(3);
  const std::unique_ptr<Transport> endpoint = hub.endpoint(1);
  RecordingTransport transport(*endpoint);
  const StaleCache cache(plan, transport, kTimeout);
  const auto expect_apart = [](const auto& pieces, std::size_t bytes) {
    ASSERT_EQ(pieces.size(), 2U);
    for (const auto& piece : pieces) {
      EXPECT_EQ(piece.bytes, bytes);
      EXPECT_EQ(reinterpret_cast<std::uintptr_t>(piece.address) % 16, 0U);
    }
    EXPECT_GE(pieces[1].address - pieces[0].address, static_cast<std::ptrdiff_t>(bytes));
  };
  ASSERT_EQ(transport.prepared.size(), 3U);  // of the site, and of its bundle's buffers
  for (std::size_t i = 0; i < 3; ++i) {
    const Exchange& exchange = transport.prepared[i].second;
    expect_apart(exchange.sends, i == 0 ? 13 * 4 : 13 + 4);
    expect_apart(exchange.receives, i == 0 ? 13 * 4 : 13 + 4);
  }
}

TEST(StaleCache, TheGatherDoesNotTravelInTheLaneOfStaleRows) {
  const Topology topology(2, Guidance::batched, 2, kRows, 4);
  const ExchangePlan plan(sites(), topology, ParallelConfig::pcpp(), {kRows, kColumns, 4, 1});
  LocalHub hub(2);
  const std::unique_ptr<Transport> endpoint = hub.endpoint(0);
  RecordingTransport transport(*endpoint);
  const StaleCache cache(plan, transport, kTimeout);
  for (const auto& [lane, exchange] : transport.prepared) EXPECT_EQ(lane, Lane::stale);
  const NoiseGather gather(plan, transport, kTimeout);
  EXPECT_EQ(transport.prepared.back().first, Lane::gather);
}

}  // namespace
}  // namespace pcpp
