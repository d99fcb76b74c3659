#include "parallel/link_courier.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <latch>
#include <limits>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "base/link.h"
#include "parallel/rank_group.h"
#include "pcpp/error.h"
#include "support/errors.h"

namespace pcpp {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;
using std::chrono::minutes;

// 1 MB a second: a byte a microsecond.
Link slow(bool shared = false) { return {"slow", 1e6, 10e-6, shared}; }

Transfer piece(int from, int to, std::size_t bytes) { return {0, from, to, bytes}; }

const Clock::time_point kStart = Clock::time_point(minutes(5));
Clock::time_point at(int us) { return kStart + microseconds(us); }

TEST(LinkLanes, APieceTakesItsBytesOverTheBandwidthAndTheLatency) {
  LinkLanes lanes(slow(), 2);
  EXPECT_EQ(lanes.arrival(piece(0, 1, 500), at(0)), at(510));
  EXPECT_EQ(lanes.arrival(piece(0, 1, 0), at(1000)), at(1010));
}

TEST(LinkLanes, PiecesOfOneSenderFollowEachOther) {
  LinkLanes lanes(slow(), 3);
  EXPECT_EQ(lanes.arrival(piece(0, 1, 100), at(0)), at(110));
  EXPECT_EQ(lanes.arrival(piece(0, 2, 100), at(0)), at(210));
  EXPECT_EQ(lanes.arrival(piece(0, 1, 100), at(150)), at(310));
  EXPECT_EQ(lanes.arrival(piece(0, 1, 100), at(900)), at(1010));
}

TEST(LinkLanes, PiecesToOneReceiverFollowEachOther) {
  LinkLanes lanes(slow(), 3);
  EXPECT_EQ(lanes.arrival(piece(0, 2, 100), at(0)), at(110));
  EXPECT_EQ(lanes.arrival(piece(1, 2, 100), at(20)), at(210));
}

TEST(LinkLanes, DirectionsAndOtherPairsDoNotWait) {
  LinkLanes lanes(slow(), 4);
  EXPECT_EQ(lanes.arrival(piece(0, 1, 100), at(0)), at(110));
  EXPECT_EQ(lanes.arrival(piece(1, 0, 100), at(0)), at(110));
  EXPECT_EQ(lanes.arrival(piece(2, 3, 100), at(0)), at(110));
}

TEST(LinkLanes, OnASharedMediumAllPiecesFollowEachOther) {
  LinkLanes lanes(slow(true), 4);
  EXPECT_EQ(lanes.arrival(piece(0, 1, 100), at(0)), at(110));
  EXPECT_EQ(lanes.arrival(piece(1, 0, 100), at(0)), at(210));
  EXPECT_EQ(lanes.arrival(piece(2, 3, 100), at(0)), at(310));
}

TEST(Link, IsKnownByName) {
  std::vector<std::string> names;
  for (const Link& link : Link::known()) {
    names.push_back(link.name);
    EXPECT_NO_THROW(check_link(Link::named(link.name)));
  }
  EXPECT_EQ(names, (std::vector<std::string>{"nvlink4", "pcie4x16", "pcie3x8", "ethernet100g",
                                             "ethernet25g", "ethernet10g"}));
  EXPECT_EQ(Link::named("ethernet10g").bytes_per_second, 10e9 / 8);
  testing::expect_error<ConfigError>([] { Link::named("carrier\x1bpigeon"); },
                                     {"carrier\\x1bpigeon", "ethernet10g"});
}

TEST(Link, NeedsASpeed) {
  EXPECT_THROW(check_link({"none", 0, 0, false}), ConfigError);
  EXPECT_THROW(check_link({"back", 1e9, -1, false}), ConfigError);
  EXPECT_THROW(check_link({"nan", std::numeric_limits<double>::quiet_NaN(), 0, false}),
               ConfigError);
}

// The clock says whether a piece came before its time: never, however slow the machine is.
TEST(LinkCourier, DeliversEachPieceOnceAndNotBeforeItsTime) {
  constexpr int kRounds = 5;
  constexpr auto kLeast = microseconds(3 * 64 + 10);  // three pieces leave each rank
  LinkCourier courier(slow(), 4);
  LocalHub hub(4, &courier);
  run_ranks(hub, [&](Transport& transport) {
    Exchange exchange;
    std::byte* out = transport.allocate(64);
    std::byte* in = transport.allocate(4 * 64);
    for (int peer = 0; peer < 4; ++peer) {
      if (peer == transport.rank()) continue;
      exchange.sends.push_back({peer, out, 64});
      exchange.receives.push_back({peer, in + 64 * peer, 64});
    }
    const ExchangeId id = transport.prepare(0, Lane::stale, exchange);
    for (int round = 0; round < kRounds; ++round) {
      out[63] = static_cast<std::byte>(10 * round + transport.rank());
      const Clock::time_point begin = Clock::now();
      transport.start(id);
      transport.wait(id, deadline_in(minutes(1)));
      EXPECT_GE(Clock::now() - begin, kLeast);
      for (const ReceivePiece& receive : exchange.receives) {
        EXPECT_EQ(receive.address[63], static_cast<std::byte>(10 * round + receive.peer));
      }
    }
  });
}

TEST(LinkCourier, TheHubMayGoWhilePiecesAreUnderWay) {
  LinkCourier courier({"slowest", 1, 60, false}, 2);
  {
    LocalHub hub(2, &courier);
    const std::unique_ptr<Transport> a = hub.endpoint(0);
    const std::unique_ptr<Transport> b = hub.endpoint(1);
    std::byte* memory = a->allocate(64);
    a->start(a->prepare(0, Lane::stale, {{{1, memory, 32}}, {}}));
    const ExchangeId receive = b->prepare(0, Lane::stale, {{}, {{0, memory + 32, 32}}});
    b->start(receive);
    EXPECT_THROW(b->wait(receive, deadline_in(milliseconds(1))), TransportError);
  }
}

// A piece that follows another on its lanes arrives after it: when that one is here, the one before
// has been delivered or never will be.
TEST(LinkCourier, NeverDeliversWhatWasDropped) {
  bool dropped_came = false;
  std::latch next_came(1);
  LinkCourier courier({"short", 1e9, 0.02, false}, 2);
  courier.carry(piece(1, 0, 8), [&] { dropped_came = true; });
  courier.drop();
  const bool came_before = dropped_came;  // on a machine that stood still for as long
  courier.carry(piece(1, 0, 8), [&] { next_came.count_down(); });
  next_came.wait();
  EXPECT_EQ(dropped_came, came_before);
}

TEST(LinkCourier, DropWaitsForWhatIsBeingDelivered) {
  std::latch begun(1);
  std::atomic<bool> delivered = false;
  LinkCourier courier({"short", 1e9, 0, false}, 2);
  courier.carry(piece(0, 1, 8), [&] {
    begun.count_down();
    for (int i = 0; i < 10'000; ++i) std::this_thread::yield();
    delivered = true;
  });
  begun.wait();
  courier.drop();
  EXPECT_TRUE(delivered);
}

}  // namespace
}  // namespace pcpp
