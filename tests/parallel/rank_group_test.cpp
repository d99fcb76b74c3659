#include "parallel/rank_group.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <barrier>
#include <set>
#include <thread>

#include "parallel/local_transport.h"
#include "pcpp/error.h"

namespace pcpp {
namespace {

TEST(RunRanks, CallsTheFunctionOnceForEachRank) {
  LocalHub hub(5);
  std::array<std::atomic<int>, 5> calls{};
  run_ranks(hub, [&](Transport& transport) {
    EXPECT_EQ(transport.world_size(), 5);
    ++calls.at(static_cast<std::size_t>(transport.rank()));
  });
  for (const std::atomic<int>& count : calls) EXPECT_EQ(count.load(), 1);
}

TEST(RankThreads, CallsEachNumberOnTheSameThreadEveryTime) {
  RankThreads threads;
  std::array<std::thread::id, 4> first;
  threads.run(3,
              [&](int i) { first.at(static_cast<std::size_t>(i)) = std::this_thread::get_id(); });
  threads.run(4, [&](int i) {
    std::thread::id& id = first.at(static_cast<std::size_t>(i));
    if (i == 3) id = std::this_thread::get_id();
    EXPECT_EQ(id, std::this_thread::get_id()) << i;
  });
  EXPECT_EQ(std::set(first.begin(), first.end()).size(), 4U);
  EXPECT_FALSE(std::ranges::count(first, std::this_thread::get_id()));
}

TEST(RankThreads, OnceEndedAreFollowedByOthers) {
  RankThreads threads;
  const auto calls_of_thread = [&] {
    int calls = 0;
    threads.run(1, [&](int /*i*/) {
      thread_local int own = 0;
      calls = ++own;
    });
    return calls;
  };
  EXPECT_EQ(calls_of_thread(), 1);
  EXPECT_EQ(calls_of_thread(), 2);
  threads.end();
  EXPECT_EQ(calls_of_thread(), 1);
}

TEST(RankThreads, CallsAllNumbersAtOnce) {
  RankThreads threads;
  std::barrier together(5);
  threads.run(5, [&](int /*i*/) { together.arrive_and_wait(); });
  threads.run(0, [](int /*i*/) { FAIL(); });
}

TEST(RunRanks, AFailedRankEndsTheOthersAndItsErrorNamesIt) {
  LocalHub hub(3);
  std::atomic<int> ended_by_peer = 0;
  const auto body = [&](Transport& transport) {
    if (transport.rank() == 1) throw DeviceError("out of memory");
    std::byte* memory = transport.allocate(4);
    const ExchangeId exchange =
        transport.prepare(0, Lane::stale, {.sends = {}, .receives = {{1, memory, 4}}});
    transport.start(exchange);
    try {
      transport.wait(exchange, deadline_in(std::chrono::minutes(5)));
    } catch (const TransportError&) {
      ++ended_by_peer;
      throw;
    }
  };
  try {
    run_ranks(hub, body);
    FAIL() << "no error";
  } catch (const DeviceError& error) {
    EXPECT_STREQ(error.what(), "rank 1: out of memory");
  }
  EXPECT_EQ(ended_by_peer, 2);
}

TEST(RunRanks, OtherExceptionsPassUnchanged) {
  LocalHub hub(2);
  EXPECT_THROW(run_ranks(hub, [](Transport&) { throw Cancelled("stop"); }), Cancelled);
  LocalHub next(2);
  EXPECT_THROW(run_ranks(next, [](Transport&) { throw std::bad_alloc(); }), std::bad_alloc);
}

}  // namespace
}  // namespace pcpp
