#include "parallel/transport_suite.h"

#include <algorithm>
#include <cstring>
#include <latch>
#include <mutex>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "base/check.h"
#include "parallel/rank_group.h"
#include "parallel/rank_turn.h"
#include "parallel/timeline.h"
#include "pcpp/error.h"

namespace pcpp {

namespace {

constexpr auto kTimeout = std::chrono::minutes(1);

void write(std::byte* memory, std::int64_t value) { std::memcpy(memory, &value, sizeof value); }
std::int64_t read(const std::byte* memory) {
  std::int64_t value = 0;
  std::memcpy(&value, memory, sizeof value);
  return value;
}

// Whether all bytes are `value`.
bool holds(std::span<const std::byte> memory, int value) {
  const std::vector<std::byte> expected(memory.size(), static_cast<std::byte>(value));
  return std::memcmp(memory.data(), expected.data(), memory.size()) == 0;
}

}  // namespace

void TransportTest::run(int ranks, const std::function<void(Transport&, const Compute&)>& body) {
  const std::unique_ptr<testing::TransportWorld> world = GetParam().make(ranks);
  run_ranks(world->hub(), [&](Transport& transport) {
    body(transport,
         [&](std::function<void()> function) { world->compute(transport, std::move(function)); });
    transport.drain(deadline_in(kTimeout));
  });
}

TEST_P(TransportTest, PiecesArriveFromTheRightPeerInEveryRound) {
  run(4, [](Transport& transport, const Compute& compute) {
    const int rank = transport.rank();
    Exchange exchange;
    std::byte* out = transport.allocate(8 * 4);
    std::byte* in = transport.allocate(8 * 4);
    for (int peer = 0; peer < 4; ++peer) {
      if (peer == rank) continue;
      exchange.sends.push_back({peer, out + 8 * peer, 8});
      exchange.receives.push_back({peer, in + 8 * peer, 8});
    }
    const ExchangeId id = transport.prepare(7, Lane::stale, exchange);
    for (std::int64_t round = 0; round < 50; ++round) {
      compute([=] {
        for (int peer = 0; peer < 4; ++peer) write(out + 8 * peer, 1000 * round + 10 * rank + peer);
      });
      transport.start(id);
      transport.wait(id, deadline_in(kTimeout));
      compute([=] {
        for (int peer = 0; peer < 4; ++peer) {
          if (peer == rank) continue;
          EXPECT_EQ(read(in + 8 * peer), 1000 * round + 10 * peer + rank);
        }
      });
    }
  });
}

TEST_P(TransportTest, NothingIsWrittenBeforeTheReceiverStarts) {
  std::latch sent(1);
  run(2, [&sent](Transport& transport, const Compute& compute) {
    std::byte* data = transport.allocate(8);
    const int peer = 1 - transport.rank();
    if (transport.rank() == 0) {
      compute([=] { write(data, 42); });
      const ExchangeId send = transport.prepare(0, Lane::stale, {{{peer, data, 8}}, {}});
      transport.start(send);
      sent.count_down();
      transport.wait(send, deadline_in(kTimeout));
    } else {
      compute([=] { write(data, 7); });
      const ExchangeId receive = transport.prepare(0, Lane::stale, {{}, {{peer, data, 8}}});
      sent.wait();
      compute([=] { EXPECT_EQ(read(data), 7); });
      transport.start(receive);
      transport.wait(receive, deadline_in(kTimeout));
      compute([=] { EXPECT_EQ(read(data), 42); });
    }
  });
}

TEST_P(TransportTest, ManyExchangesMayBeUnderWay) {
  constexpr int kExchanges = 20;
  run(3, [](Transport& transport, const Compute& compute) {
    const int rank = transport.rank();
    const int next = (rank + 1) % 3;
    const int previous = (rank + 2) % 3;
    std::byte* out = transport.allocate(8 * kExchanges);
    std::byte* in = transport.allocate(8 * kExchanges);
    std::vector<ExchangeId> ids;
    for (int i = 0; i < kExchanges; ++i) {
      ids.push_back(transport.prepare(i, Lane::stale,
                                      {{{next, out + 8 * i, 8}}, {{previous, in + 8 * i, 8}}}));
    }
    for (int i = 0; i < kExchanges; ++i) {
      compute([=] { write(out + 8 * i, 100 * rank + i); });
      transport.start(ids[static_cast<std::size_t>(i)]);
    }
    for (int i = kExchanges - 1; i >= 0; --i) {
      transport.wait(ids[static_cast<std::size_t>(i)], deadline_in(kTimeout));
      compute([=] { EXPECT_EQ(read(in + 8 * i), 100 * previous + i); });
    }
  });
}

// A ring: what a rank receives it adds to and sends on, over the same addresses in every round.
TEST_P(TransportTest, WhatWasSentMayBeOverwrittenAndWhatWasReadReceivedOver) {
  constexpr int kRanks = 3;
  constexpr int kRounds = 30;
  run(kRanks, [](Transport& transport, const Compute& compute) {
    const int rank = transport.rank();
    std::byte* out = transport.allocate(8);
    std::byte* in = transport.allocate(8);
    const ExchangeId id = transport.prepare(
        3, Lane::gather, {{{(rank + 1) % kRanks, out, 8}}, {{(rank + 2) % kRanks, in, 8}}});
    compute([=] { write(out, rank); });
    for (int round = 0; round < kRounds; ++round) {
      transport.start(id);
      transport.wait(id, deadline_in(kTimeout));
      compute([=] { write(out, read(in) + 1000); });
    }
    compute([=] { EXPECT_EQ(read(out), kRounds * 1000 + rank); });
  });
}

TEST_P(TransportTest, RanksInTurnComputeOneAfterTheOther) {
  constexpr int kRanks = 3;
  constexpr int kRounds = 5;
  std::mutex mutex;
  std::vector<int> order;
  run(kRanks, [&](Transport& transport, const Compute& compute) {
    const int rank = transport.rank();
    const auto tell = [&mutex, &order, rank] {
      const std::lock_guard lock(mutex);
      order.push_back(rank);
    };
    const ExchangeId end_of_round = testing::prepare_all_to_all(transport, Lane::gather);
    RankTurn turn(transport, kTimeout);
    for (int round = 0; round < kRounds; ++round) {
      turn.take();
      compute(tell);
      compute(tell);
      turn.pass();
      transport.start(end_of_round);
      transport.wait(end_of_round, deadline_in(kTimeout));
    }
  });
  std::vector<int> expected;
  for (int round = 0; round < kRounds; ++round) expected.insert(expected.end(), {0, 0, 1, 1, 2, 2});
  EXPECT_EQ(order, expected);
}

TEST_P(TransportTest, CopiesBlocksOfRowsInOrder) {
  run(1, [](Transport& transport, const Compute& compute) {
    std::byte* source = transport.allocate(3 * 16);
    std::byte* target = transport.allocate(3 * 8);
    compute([=] {
      EXPECT_EQ(read(target), 0) << "memory is given zero-filled";
      for (int i = 0; i < 6; ++i) write(source + 8 * i, i);
    });
    const std::vector<RowCopy> copies = {{target, 8, source + 8, 16, 2, 8},
                                         {target, 8, source + 8, 16, 0, 8},
                                         {target, 8, source + 8, 16, 2, 0},
                                         {target + 16, 8, source + 40, 16, 1, 8}};
    transport.copy_rows(copies);
    compute([=] {
      for (int i = 0; i < 3; ++i) EXPECT_EQ(read(target + 8 * i), 2 * i + 1);
      write(source + 8, 99);
    });
    compute([=] { EXPECT_EQ(read(target), 1); });
  });
}

// Around what a GPU's rank takes at a time, 2 MiB.
TEST_P(TransportTest, MemoryOfEverySizeIsZeroFilledAndApart) {
  run(1, [](Transport& transport, const Compute& compute) {
    std::vector<std::span<std::byte>> pieces;
    for (const std::size_t bytes : {std::size_t{3} << 20, std::size_t{8}, std::size_t{2} << 20}) {
      pieces.emplace_back(transport.allocate(bytes), bytes);
    }
    compute([pieces] {
      for (const auto& piece : pieces) EXPECT_TRUE(holds(piece, 0)) << piece.size();
      for (std::size_t i = 0; i < pieces.size(); ++i) {
        std::memset(pieces[i].data(), static_cast<int>(i + 1), pieces[i].size());
      }
      for (std::size_t i = 0; i < pieces.size(); ++i) {
        EXPECT_TRUE(holds(pieces[i], static_cast<int>(i + 1))) << pieces[i].size();
      }
    });
  });
}

TEST_P(TransportTest, APieceMayBeEmpty) {
  run(2, [](Transport& transport, const Compute& compute) {
    const int peer = 1 - transport.rank();
    std::byte* memory = transport.allocate(8);
    const bool sends = transport.rank() == 0;
    const ExchangeId id = transport.prepare(
        0, Lane::stale,
        {{{peer, memory, sends ? 8u : 0u}}, {{peer, sends ? nullptr : memory, sends ? 0u : 8u}}});
    compute([=] { write(memory, sends ? 42 : 7); });
    transport.start(id);
    transport.wait(id, deadline_in(kTimeout));
    compute([=] { EXPECT_EQ(read(memory), 42); });
  });
}

TEST_P(TransportTest, ADrainedStreamHasDoneAll) {
  run(1, [](Transport& transport, const Compute& compute) {
    bool done = false;
    compute([&] { done = true; });
    transport.drain(deadline_in(kTimeout));
    EXPECT_TRUE(done);
  });
}

TEST_P(TransportTest, WaitsAreTimedByInterval) {
  run(2, [](Transport& transport, const Compute& compute) {
    const int peer = 1 - transport.rank();
    std::byte* memory = transport.allocate(16);
    const ExchangeId id =
        transport.prepare(0, Lane::gather, {{{peer, memory, 8}}, {{peer, memory + 8, 8}}});
    const auto exchange = [&] {
      transport.start(id);
      transport.wait(id, deadline_in(kTimeout));
      compute([] {});
    };
    const int first = transport.timeline().begin_interval();
    exchange();
    exchange();
    const int second = transport.timeline().begin_interval();
    compute([] {});
    const int third = transport.timeline().begin_interval();
    exchange();
    transport.drain(deadline_in(kTimeout));
    EXPECT_GE(transport.timeline().wait_ms(first), 0);
    EXPECT_EQ(transport.timeline().wait_ms(second), 0);
    EXPECT_GE(transport.timeline().wait_ms(third), 0);
    EXPECT_GE(transport.timeline().interval_ms(first), transport.timeline().wait_ms(first));
    EXPECT_GT(transport.timeline().interval_ms(second), 0);
  });
}

double end_of(const Timeline& timeline, const ExchangeSpan& span) {
  const auto begin = timeline.time_of(span.begin).time_since_epoch();
  return std::chrono::duration<double, std::milli>(begin).count() + span.milliseconds;
}

// What a rank's part of keeping spans must hold, of exchanges that all send and receive.
void expect_kept(const Timeline& timeline, const std::vector<int>& intervals, int exchanges) {
  constexpr double kRounding = 1e-3;
  ASSERT_EQ(timeline.waits().size(), intervals.size() * static_cast<std::size_t>(exchanges));
  ASSERT_EQ(timeline.transfers().size(), timeline.waits().size());
  for (const int interval : intervals) {
    double waited = 0;
    for (const ExchangeSpan& wait : timeline.waits()) {
      if (wait.interval != interval) continue;
      waited += wait.milliseconds;
      EXPECT_GE(timeline.time_of(wait.begin), timeline.time_of(timeline.begin_of(interval)));
    }
    EXPECT_DOUBLE_EQ(waited, timeline.wait_ms(interval));
  }
  for (std::size_t i = 0; i < timeline.transfers().size(); ++i) {
    const ExchangeSpan& transfer = timeline.transfers()[i];
    const ExchangeSpan& wait = timeline.waits()[i];
    EXPECT_EQ(transfer.exchange, wait.exchange);
    EXPECT_GE(transfer.milliseconds, 0);
    EXPECT_LE(end_of(timeline, transfer), end_of(timeline, wait) + kRounding);
  }
}

TEST_P(TransportTest, KeepsTheTimesOfWaitsAndTransfersWhereAsked) {
  run(3, [](Transport& transport, const Compute& compute) {
    const int rank = transport.rank();
    const int next = (rank + 1) % 3;
    const int previous = (rank + 2) % 3;
    Timeline& timeline = transport.timeline();
    const Clock::time_point before = Clock::now();
    timeline.keep_spans(100);
    const int first = timeline.begin_interval();
    std::byte* memory = transport.allocate(16);
    const ExchangeId id =
        transport.prepare(5, Lane::gather, {{{next, memory, 8}}, {{previous, memory + 8, 8}}});
    EXPECT_EQ(timeline.sent(id).tag, 5);
    EXPECT_EQ(timeline.sent(id).bytes, 8U);
    EXPECT_EQ(timeline.sent(id).peers, std::vector<int>{next});
    const auto exchange = [&] {
      compute([=] { write(memory, rank); });
      transport.start(id);
      compute([] {});
      transport.wait(id, deadline_in(kTimeout));
    };
    exchange();
    exchange();
    const int second = timeline.begin_interval();
    exchange();
    exchange();
    const Mark mark = timeline.mark();
    compute([] {});
    timeline.begin_interval();
    transport.drain(deadline_in(kTimeout));
    expect_kept(timeline, {first, second}, 2);
    EXPECT_EQ(timeline.left_out(), 0);
    EXPECT_GE(timeline.time_of(timeline.begin_of(first)), before);
    EXPECT_GT(timeline.time_of(mark), timeline.time_of(timeline.begin_of(second)));
    EXPECT_LT(timeline.time_of(mark), timeline.time_of(timeline.begin_of(second + 1)));
  });
}

TEST_P(TransportTest, MarksAreOnTheHostsClockWhereSpansAreKept) {
  run(1, [](Transport& transport, const Compute& /*compute*/) {
    Timeline& timeline = transport.timeline();
    const Clock::time_point before = Clock::now();
    timeline.keep_spans(1);
    const Mark mark = timeline.mark();
    const Clock::time_point after = Clock::now();
    transport.drain(deadline_in(kTimeout));
    EXPECT_GE(timeline.time_of(mark), before);
    EXPECT_LE(timeline.time_of(mark), after);
  });
}

TEST_P(TransportTest, CountsTheSpansThatItDoesNotKeep) {
  run(2, [](Transport& transport, const Compute& /*compute*/) {
    transport.timeline().keep_spans(3);
    testing::exchange_all(transport, 5);
    EXPECT_EQ(transport.timeline().waits().size(), 3U);
    EXPECT_EQ(transport.timeline().transfers().size(), 3U);
    EXPECT_EQ(transport.timeline().left_out(), 4);
  });
}

TEST_P(TransportTest, ARankThatFailsEndsTheOthers) {
  std::string end_of_the_other;
  const auto body = [&](Transport& transport, const Compute& /*compute*/) {
    const int peer = 1 - transport.rank();
    std::byte* memory = transport.allocate(16);
    const ExchangeId id =
        transport.prepare(0, Lane::gather, {{{peer, memory, 8}}, {{peer, memory + 8, 8}}});
    try {
      for (int round = 0;; ++round) {
        if (transport.rank() == 1 && round == 3) fail<DeviceError>("out of memory");
        transport.start(id);
        transport.wait(id, deadline_in(kTimeout));
      }
    } catch (const TransportError& error) {
      end_of_the_other = error.what();
      throw;
    }
  };
  try {
    run(2, body);
    FAIL() << "no error";
  } catch (const DeviceError& error) {
    EXPECT_STREQ(error.what(), "rank 1: out of memory");
  }
  EXPECT_EQ(end_of_the_other, "rank 1 failed");
}

// Rank 0 waits for what rank 1 never sends, until the deadline that it then asks for.
void wait_in_vain(Transport& transport, const std::function<Deadline()>& deadline) {
  std::byte* memory = transport.allocate(8);
  if (transport.rank() == 1) {
    transport.prepare(0, Lane::stale, {{{0, memory, 8}}, {}});
    return;
  }
  const ExchangeId id = transport.prepare(0, Lane::stale, {{}, {{1, memory, 8}}});
  transport.start(id);
  const Deadline end = deadline();
  transport.wait(id, end);
  transport.drain(end);
}

TEST_P(TransportTest, AWaitEndsAtItsDeadline) {
  const auto body = [](Transport& transport, const Compute& /*compute*/) {
    wait_in_vain(transport, [] { return deadline_in(std::chrono::milliseconds(1)); });
  };
  EXPECT_THROW(run(2, body), TransportError);
}

// By another thread, long ahead of the deadline.
TEST_P(TransportTest, AStopEndsEveryWait) {
  const std::unique_ptr<testing::TransportWorld> world = GetParam().make(2);
  std::latch is_started(1);
  std::jthread stopper([&] {
    is_started.wait();
    world->hub().stop();
  });
  const auto body = [&](Transport& transport) {
    wait_in_vain(transport, [&] {
      is_started.count_down();
      return deadline_in(kTimeout);
    });
  };
  EXPECT_THROW(run_ranks(world->hub(), body), Cancelled);
}

GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(TransportTest);

}  // namespace pcpp
