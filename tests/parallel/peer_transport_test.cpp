#include "parallel/peer_transport.h"

#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "parallel/rank_group.h"
#include "parallel/timeline.h"
#include "parallel/transport_suite.h"
#include "pcpp/error.h"
#include "support/device_exchanges.h"
#include "support/fake_cuda.h"
#include "support/fake_worlds.h"

namespace pcpp {
namespace {

using testing::exchange_all;
using testing::FakeCuda;

constexpr auto kTimeout = std::chrono::minutes(1);

INSTANTIATE_TEST_SUITE_P(Peer, TransportTest, ::testing::ValuesIn(testing::peer_cases()),
                         name_of_case);

std::string device_error(const std::vector<int>& devices) {
  try {
    PeerHub hub(devices, kTimeout);
    run_ranks(hub, [](Transport& transport) { exchange_all(transport, 4); });
  } catch (const DeviceError& error) {
    return error.what();
  }
  return "no error";
}

TEST(PeerTransport, CopiesAllOfAnExchangeInOneCall) {
  FakeCuda cuda({.devices = 4});
  PeerHub hub({0, 1, 2, 3}, kTimeout);
  run_ranks(hub, [](Transport& transport) { exchange_all(transport, 5); });
  EXPECT_EQ(cuda.calls("cudaMemcpyBatchAsync"), 4 * 5);
  EXPECT_EQ(cuda.calls("cudaMemcpyPeerAsync"), 0);
}

TEST(PeerTransport, GoesThroughTheHostOnlyBetweenDevicesWithoutPeerAccess) {
  FakeCuda cuda({.devices = 2, .peer_access = false});
  PeerHub hub({0, 0, 1}, kTimeout);
  run_ranks(hub, [](Transport& transport) { exchange_all(transport, 1); });
  EXPECT_EQ(cuda.calls("cudaMemcpyPeerAsync"), 4);
}

TEST(PeerTransport, CopiesWithinADeviceByAKernel) {
  FakeCuda cuda({.devices = 2});
  PeerHub hub({0, 0, 1}, kTimeout);
  run_ranks(hub, [](Transport& transport) { exchange_all(transport, 1); });
  EXPECT_EQ(cuda.calls("cudaMemcpyBatchAsync"), 3);  // ranks 0 and 1 to 2, and 2 to both
}

TEST(PeerTransport, RingsOfAnyLengthOnAnyDevices) {
  FakeCuda cuda({.schedule = testing::Schedule::random, .devices = 3});
  for (const std::vector<int>& devices :
       {std::vector{0}, std::vector{0, 0, 0, 0}, std::vector{0, 1, 2}, std::vector{0, 1, 0}}) {
    PeerHub hub(devices, kTimeout);
    testing::exchange_in_ring(hub);
  }
}

TEST(BatchCopy, CopiesPiecesOfAnySize) {
  FakeCuda cuda({.schedule = testing::Schedule::lazy});
  set_device(0);
  testing::copy_in_batches();
  EXPECT_EQ(cuda.calls("cudaMemcpyBatchAsync"), 1);
}

TEST(PeerTransport, PeerAccessStaysEnabledForTheNextRequest) {
  FakeCuda cuda({.devices = 2});
  for (int request = 0; request < 2; ++request) {
    PeerHub hub({0, 1}, kTimeout);
    run_ranks(hub, [](Transport& transport) { exchange_all(transport, 1); });
  }
}

// A context takes some hundred MiB, and a GPU may be another process's alone.
TEST(PeerTransport, UsesNoDeviceButItsOwn) {
  FakeCuda cuda({.devices = 4});
  PeerHub hub({1, 3, 1}, kTimeout);
  run_ranks(hub, [](Transport& transport) { exchange_all(transport, 2); });
  EXPECT_TRUE(cuda.has_context(3));
  EXPECT_FALSE(cuda.has_context(0));
  EXPECT_FALSE(cuda.has_context(2));
}

TEST(DeviceRank, GivesUpADeviceThatDoesNotEndByTheDeadline) {
  FakeCuda cuda({});
  const DeviceRank rank(0, 0, StreamPriority::normal,
                        [](std::size_t) { return DeviceRank::Block(); });
  std::atomic<bool> may_end = false;
  {
    const auto lock = testing::fake_cuda::lock();
    testing::fake_cuda::Operation stuck;
    stuck.ready = [&] { return may_end.load(); };
    testing::fake_cuda::enqueue(rank.lane(Lane::stale).get(), std::move(stuck));
  }
  EXPECT_FALSE(rank.finish(deadline_in(std::chrono::milliseconds(5))));
  may_end = true;
  EXPECT_TRUE(rank.finish(deadline_in(kTimeout)));
}

// A device may still write to any rank's memory.
TEST(DeviceRanks, KeepTheMemoryOfAllWhereADeviceDoesNotEndByTheDeadline) {
  FakeCuda cuda({});
  int blocks = 0;
  const auto make_block = [&blocks](std::size_t bytes) {
    void* memory = nullptr;
    check_cuda(cudaMalloc(&memory, bytes), "cudaMalloc");
    ++blocks;
    return DeviceRank::Block(static_cast<std::byte*>(memory), [&blocks](std::byte* data) {
      --blocks;
      log_cuda(cudaFree(data), "cudaFree");
    });
  };
  std::atomic<bool> may_end = false;
  std::vector<DeviceRank*> released;
  {
    DeviceRanks ranks(2);
    for (const int rank : {0, 1}) {
      released.push_back(
          &ranks.add(std::make_unique<DeviceRank>(rank, 0, StreamPriority::normal, make_block)));
      released.back()->allocate(8);
    }
    {
      const auto lock = testing::fake_cuda::lock();
      testing::fake_cuda::Operation stuck;
      stuck.ready = [&] { return may_end.load(); };
      testing::fake_cuda::enqueue(released[0]->lane(Lane::gather).get(), std::move(stuck));
    }
    EXPECT_FALSE(ranks.finish(deadline_in(std::chrono::milliseconds(5))));
    EXPECT_FALSE(ranks.finish(deadline_in(std::chrono::milliseconds(5))));
  }
  ASSERT_EQ(blocks, 2);
  may_end = true;
  for (DeviceRank* rank : released) {
    const std::unique_ptr<DeviceRank> owned(rank);
    EXPECT_TRUE(owned->finish(deadline_in(kTimeout)));
  }
  EXPECT_EQ(blocks, 0);
}

// By the fake's clock: a millisecond for each computation and for each copy.
TEST(PeerTransport, AWaitIsTheTimeInWhichTheStreamStoodStill) {
  FakeCuda cuda({.schedule = testing::Schedule::lazy});
  PeerHub hub({0, 0}, kTimeout);
  const std::unique_ptr<Transport> a = hub.endpoint(0);
  const std::unique_ptr<Transport> b = hub.endpoint(1);
  std::byte* memory = a->allocate(16);
  const ExchangeId receive = a->prepare(0, Lane::stale, {{}, {{1, memory, 8}}});
  const ExchangeId send = b->prepare(0, Lane::stale, {{{0, memory + 8, 8}}, {}});
  const int interval = a->timeline().begin_interval();
  for (int round = 0; round < 2; ++round) {
    for (int i = 0; i < 5; ++i) testing::launch(*b, [] {});
    b->start(send);
    testing::launch(*a, [] {});
    a->start(receive);
    a->wait(receive, deadline_in(kTimeout));
    testing::launch(*a, [] {});
    b->wait(send, deadline_in(kTimeout));
  }
  a->drain(deadline_in(kTimeout));
  EXPECT_EQ(a->timeline().wait_ms(interval), 2 * (5 + 1));
}

double milliseconds_between(Transport& transport, Mark begin, Mark end) {
  return std::chrono::duration<double, std::milli>(transport.timeline().time_of(end) -
                                                   transport.timeline().time_of(begin))
      .count();
}

// By the same clock.
TEST(PeerTransport, SpansAreOfEventsOnTheStreamsAndNotOfTheHost) {
  FakeCuda cuda({.schedule = testing::Schedule::lazy});
  PeerHub hub({0, 0}, kTimeout);
  const std::unique_ptr<Transport> a = hub.endpoint(0);
  const std::unique_ptr<Transport> b = hub.endpoint(1);
  std::byte* memory = a->allocate(16);
  a->timeline().keep_spans(10);
  b->timeline().keep_spans(10);
  const ExchangeId receive = a->prepare(0, Lane::stale, {{}, {{1, memory, 8}}});
  const ExchangeId send = b->prepare(0, Lane::stale, {{{0, memory + 8, 8}}, {}});
  a->timeline().begin_interval();
  for (int i = 0; i < 3; ++i) testing::launch(*a, [] {});
  const Mark inner = a->timeline().mark();
  const int interval = a->timeline().begin_interval();
  testing::launch(*a, [] {});
  const Mark late = a->timeline().mark();
  b->start(send);
  testing::launch(*b, [] {});
  for (int i = 0; i < 2; ++i) testing::launch(*a, [] {});
  a->start(receive);
  a->wait(receive, deadline_in(kTimeout));
  b->wait(send, deadline_in(kTimeout));
  a->drain(deadline_in(kTimeout));
  b->drain(deadline_in(kTimeout));
  EXPECT_EQ(milliseconds_between(*a, a->timeline().begin_of(interval - 1), inner), 3);
  EXPECT_EQ(milliseconds_between(*a, inner, late), 1);
  ASSERT_EQ(a->timeline().waits().size(), 1U);
  EXPECT_EQ(milliseconds_between(*a, late, a->timeline().waits()[0].begin), 2);
  EXPECT_EQ(a->timeline().waits()[0].milliseconds, 1);  // the copy
  EXPECT_TRUE(a->timeline().transfers().empty()) << "it sends nothing";
  ASSERT_EQ(b->timeline().transfers().size(), 1U);
  EXPECT_EQ(b->timeline().transfers()[0].milliseconds, 1);  // lazily started
}

TEST(PeerTransport, OutOfMemoryNamesRankAndDeviceAndTheNextRequestWorks) {
  FakeCuda cuda({.devices = 2});
  cuda.fail("cudaMalloc", cudaErrorMemoryAllocation);
  const std::string error = device_error({1, 1});
  EXPECT_NE(error.find("cudaMalloc on device 1 failed"), std::string::npos) << error;
  EXPECT_NE(error.find("smaller picture"), std::string::npos) << error;
  EXPECT_EQ(error.find("rank "), 0) << error;
  EXPECT_EQ(device_error({1, 1}), "no error");
}

TEST(PeerTransport, ALostDeviceEndsAllRanksAndSaysWhatIsToBeDone) {
  for (const char* function : {"cudaEventRecord", "cudaMemcpyBatchAsync", "cudaStreamWaitEvent",
                               "cudaEventQuery", "cudaMemsetAsync"}) {
    FakeCuda cuda({.schedule = testing::Schedule::random, .devices = 2});
    cuda.fail(function, cudaErrorECCUncorrectable, 1, true);
    for (int request = 0; request < 2; ++request) {
      const std::string error = device_error({0, 1});
      EXPECT_NE(error.find("cudaErrorECCUncorrectable"), std::string::npos) << error;
      EXPECT_NE(error.find("start it again"), std::string::npos) << error;
    }
  }
}

TEST(PeerTransport, RefusesAWorldWithoutRanksAndRanksOutsideOfIt) {
  FakeCuda cuda({});
  EXPECT_THROW(PeerHub({}, kTimeout), ConfigError);
  EXPECT_THROW(PeerHub({0}, kTimeout).endpoint(1), ConfigError);
}

}  // namespace
}  // namespace pcpp
