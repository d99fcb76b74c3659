#include "parallel/nccl_transport.h"

#include <gtest/gtest.h>

#include <array>
#include <latch>
#include <memory>
#include <string>
#include <vector>

#include "parallel/rank_group.h"
#include "parallel/transport_suite.h"
#include "pcpp/error.h"
#include "support/device_exchanges.h"
#include "support/errors.h"
#include "support/fake_cuda.h"
#include "support/fake_nccl.h"
#include "support/fake_worlds.h"

namespace pcpp {
namespace {

using testing::exchange_all;
using testing::FakeCuda;
using testing::FakeNccl;

constexpr int kRanks = 3;
constexpr int kLanes = 2;
constexpr auto kTimeout = std::chrono::minutes(1);

INSTANTIATE_TEST_SUITE_P(Nccl, TransportTest, ::testing::ValuesIn(testing::nccl_cases()),
                         name_of_case);

class NcclTransportTest : public ::testing::Test {
 protected:
  // What the request's error says; empty where there is none.
  std::string request(NcclWorld& world) {
    try {
      NcclHub hub(world);
      run_ranks(hub, [](Transport& transport) { exchange_all(transport, 4); });
    } catch (const TransportError& error) {
      return error.what();
    }
    return "";
  }

  FakeCuda cuda_{{.schedule = testing::Schedule::random, .devices = kRanks}};
  FakeNccl nccl_;
  const std::vector<int> devices_ = {0, 1, 2};
};

TEST_F(NcclTransportTest, MovesAnExchangeInOneGroup) {
  NcclWorld world(nccl_.api(), devices_, kTimeout);
  EXPECT_EQ(request(world), "");
  EXPECT_EQ(nccl_.calls("ncclGroupEnd"), kRanks * 4);
  EXPECT_EQ(nccl_.calls("ncclSend"), kRanks * 4 * (kRanks - 1));
  EXPECT_EQ(nccl_.calls("ncclRecv"), kRanks * 4 * (kRanks - 1));
}

// A kernel of NCCL's that waits on its device for a peer may hold that peer's thread.
TEST_F(NcclTransportTest, LaunchesNothingBeforeEveryPeerHasStarted) {
  NcclWorld world(nccl_.api(), devices_, kTimeout);
  NcclHub hub(world);
  std::latch others_started(kRanks - 1);
  run_ranks(hub, [&](Transport& transport) {
    std::byte* memory = transport.allocate(kRanks * 8);
    Exchange exchange;
    for (int peer = 0; peer < kRanks; ++peer) {
      if (peer == transport.rank()) continue;
      exchange.sends.push_back({peer, memory + 8 * transport.rank(), 8});
      exchange.receives.push_back({peer, memory + 8 * peer, 8});
    }
    const ExchangeId id = transport.prepare(0, Lane::stale, exchange);
    if (transport.rank() == 0) {
      others_started.wait();
      EXPECT_EQ(nccl_.calls("ncclGroupStart"), 0);
    }
    transport.start(id);
    if (transport.rank() != 0) others_started.count_down();
    transport.wait(id, deadline_in(kTimeout));
    transport.drain(deadline_in(kTimeout));
  });
  EXPECT_EQ(nccl_.calls("ncclGroupEnd"), kRanks);
}

// NCCL's kernels of two communicators may wait for each other unless the order is the same.
TEST_F(NcclTransportTest, LaunchesTheExchangesOfBothLanesInTheOrderOfTheirStarts) {
  NcclWorld world(nccl_.api(), devices_, kTimeout);
  NcclHub hub(world);
  std::latch started(2);
  std::array<std::int64_t, 2> tags{};
  run_ranks(hub, [&](Transport& transport) {
    const int peer = 1 - transport.rank();
    if (peer < 0) return;
    std::byte* memory = transport.allocate(16);
    for (const Lane lane : {Lane::stale, Lane::stale, Lane::gather}) {
      const ExchangeId id = transport.prepare(++tags[static_cast<std::size_t>(peer)], lane,
                                              {{{peer, memory, 8}}, {{peer, memory + 8, 8}}});
      transport.start(id);
    }
    started.arrive_and_wait();
    transport.flush(deadline_in(kTimeout));
    EXPECT_EQ(nccl_.order(transport.rank()), (std::vector<int>{0, 0, 1}));
    transport.drain(deadline_in(kTimeout));
  });
}

TEST_F(NcclTransportTest, AFlushEndsWhenAllThatWasStartedIsOnTheDevice) {
  NcclWorld world(nccl_.api(), devices_, kTimeout);
  NcclHub hub(world);
  run_ranks(hub, [&](Transport& transport) {
    const int next = (transport.rank() + 1) % kRanks;
    const int previous = (transport.rank() + kRanks - 1) % kRanks;
    std::byte* memory = transport.allocate(16);
    const ExchangeId id =
        transport.prepare(0, Lane::stale, {{{next, memory, 8}}, {{previous, memory + 8, 8}}});
    transport.start(id);
    transport.flush(deadline_in(kTimeout));
    EXPECT_EQ(nccl_.order(transport.rank()), std::vector<int>{0});
    transport.drain(deadline_in(kTimeout));
  });
}

// As a full queue of launches does: the thread returns when its device goes on.
TEST_F(NcclTransportTest, RanksHeldByTheirDevicesAreFreedByTheFailureOfAnother) {
  NcclWorld world(nccl_.api(), devices_, kTimeout);
  NcclHub hub(world);
  nccl_.hang(0);
  std::latch held(2);
  const auto body = [&](Transport& transport) {
    if (transport.rank() == 0) {
      held.wait();
      throw ConfigError("changed its mind");
    }
    const int peer = 3 - transport.rank();
    std::byte* memory = transport.allocate(16);
    const ExchangeId id =
        transport.prepare(0, Lane::stale, {{{peer, memory, 8}}, {{peer, memory + 8, 8}}});
    transport.start(id);
    transport.wait(id, deadline_in(kTimeout));
    held.count_down();
    check_cuda(cudaStreamSynchronize(transport.stream()), "cudaStreamSynchronize");
    transport.wait(id, deadline_in(kTimeout));
    ADD_FAILURE() << "a wait after the failure";
  };
  EXPECT_THROW(run_ranks(hub, body), ConfigError);
}

TEST_F(NcclTransportTest, KeepsItsCommunicatorsForTheNextRequest) {
  NcclWorld world(nccl_.api(), devices_, kTimeout);
  EXPECT_EQ(request(world), "");
  EXPECT_EQ(request(world), "");
  EXPECT_EQ(nccl_.calls("ncclCommInitRankConfig"), kRanks * kLanes);
  EXPECT_EQ(nccl_.calls("ncclCommAbort"), 0);
}

TEST_F(NcclTransportTest, AnErrorOfAnyCallEndsAllRanksAndTheNextRequestMakesTheWorldAnew) {
  NcclWorld world(nccl_.api(), devices_, kTimeout);
  for (const char* function : {"ncclCommInitRankConfig", "ncclGroupStart", "ncclSend", "ncclRecv",
                               "ncclGroupEnd", "ncclCommGetAsyncError", "asynchronous"}) {
    SCOPED_TRACE(function);
    nccl_.fail(function, ncclRemoteError, 2);
    const std::string error = request(world);
    EXPECT_EQ(error.find("rank "), 0) << error;
    EXPECT_NE(error.find("the next request"), std::string::npos) << error;
    EXPECT_EQ(request(world), "");
    nccl_.fail("asynchronous", ncclRemoteError, 0);
    EXPECT_NE(request(world), "");
  }
}

TEST_F(NcclTransportTest, ACallThatNeverEndsIsAbortedAtTheDeadline) {
  NcclWorld world(nccl_.api(), devices_, kTimeout);
  nccl_.hang(2);
  NcclHub hub(world);
  const auto body = [](Transport& transport) {
    std::byte* memory = transport.allocate(16);
    const int next = (transport.rank() + 1) % kRanks;
    const int previous = (transport.rank() + kRanks - 1) % kRanks;
    const ExchangeId id =
        transport.prepare(0, Lane::gather, {{{next, memory, 8}}, {{previous, memory + 8, 8}}});
    transport.start(id);
    const Deadline deadline = deadline_in(std::chrono::milliseconds(50));
    transport.wait(id, deadline);
    transport.drain(deadline);
  };
  EXPECT_THROW(run_ranks(hub, body), TransportError);
}

TEST_F(NcclTransportTest, AfterACallThatNeverEndedTheNextRequestWorks) {
  NcclWorld world(nccl_.api(), devices_, kTimeout);
  nccl_.hang(0);
  {
    NcclHub hub(world);
    const auto body = [](Transport& transport) {
      const int peer = 1 - transport.rank();
      if (peer < 0) return;
      std::byte* memory = transport.allocate(16);
      transport.start(
          transport.prepare(0, Lane::stale, {{{peer, memory, 8}}, {{peer, memory, 8}}}));
      transport.drain(deadline_in(std::chrono::milliseconds(20)));
    };
    EXPECT_THROW(run_ranks(hub, body), TransportError);
  }
  nccl_.hang(1 << 20);
  EXPECT_EQ(request(world), "");
}

TEST_F(NcclTransportTest, RanksThatDoNotAllJoinAreGivenUp) {
  NcclWorld world(nccl_.api(), devices_, std::chrono::milliseconds(5));
  NcclHub hub(world);
  testing::expect_error<TransportError>([&] { hub.endpoint(0); }, {"to join"});
}

TEST_F(NcclTransportTest, OutOfMemoryIsTheDevicesError) {
  NcclWorld world(nccl_.api(), devices_, kTimeout);
  nccl_.fail("ncclMemAlloc", ncclUnhandledCudaError);
  NcclHub hub(world);
  EXPECT_THROW(run_ranks(hub, [](Transport& transport) { exchange_all(transport, 1); }),
               DeviceError);
}

TEST_F(NcclTransportTest, ALostDeviceEndsAllRanksAndSaysWhatIsToBeDone) {
  NcclWorld world(nccl_.api(), devices_, kTimeout);
  cuda_.fail("cudaEventRecord", cudaErrorECCUncorrectable, 5, true);
  for (int lost = 0; lost < 2; ++lost) {
    try {
      request(world);
      FAIL() << "no error";
    } catch (const DeviceError& error) {
      const std::string text = error.what();
      EXPECT_EQ(text.find("rank "), 0) << text;
      EXPECT_NE(text.find("start it again"), std::string::npos) << text;
    }
  }
}

TEST_F(NcclTransportTest, RingsOfAnyLengthALoneRankToItself) {
  for (const std::vector<int>& devices : {std::vector{1}, std::vector{2, 0}, devices_}) {
    NcclWorld world(nccl_.api(), devices, kTimeout);
    for (int request = 0; request < 2; ++request) {
      NcclHub hub(world);
      testing::exchange_in_ring(hub);
    }
  }
}

TEST_F(NcclTransportTest, RefusesRanksThatShareADevice) {
  EXPECT_THROW(NcclWorld(nccl_.api(), {0, 1, 0}, kTimeout), ConfigError);
  EXPECT_THROW(NcclWorld(nccl_.api(), {}, kTimeout), ConfigError);
}

TEST(NcclApi, IsTheInstalledLibraryOrSaysWhatToInstall) {
  try {
    EXPECT_NE(nccl_api().send, nullptr);
  } catch (const TransportError& error) {
    EXPECT_NE(std::string(error.what()).find("install"), std::string::npos) << error.what();
  }
}

}  // namespace
}  // namespace pcpp
