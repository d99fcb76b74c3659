// The transports between GPUs on those that there are: what the tests over the fakes cannot tell is
// whether CUDA and NCCL take these calls.

#include <gtest/gtest.h>

#include <chrono>
#include <numeric>
#include <string>
#include <vector>

#include "base/check.h"
#include "parallel/nccl_transport.h"
#include "parallel/peer_transport.h"
#include "parallel/rank_group.h"
#include "pcpp/error.h"
#include "pcpp/world.h"
#include "pipeline/on_gpus.h"
#include "support/device_exchanges.h"

namespace pcpp {
namespace {

using testing::exchange_in_ring;
using testing::kExchangeTimeout;

class GpuTransports : public OnGpus {
 protected:
  void SetUp() override {
    OnGpus::SetUp();
    if (!IsSkipped() && !HasFatalFailure()) set_device(0);
  }
};

class SeveralGpus : public GpuTransports {
 protected:
  void SetUp() override {
    GpuTransports::SetUp();
    if (IsSkipped() || HasFatalFailure()) return;
    if (World::gpu_count() < 2) GTEST_SKIP() << "one GPU: nothing travels between two";
    devices_.resize(static_cast<std::size_t>(World::gpu_count()));
    std::iota(devices_.begin(), devices_.end(), 0);
  }

  std::vector<int> devices_;
};

constexpr int kManyRounds = 200;
constexpr std::size_t kManyBytes = 1 << 16;

TEST_F(GpuTransports, PeersOnOneGpu) {
  PeerHub hub({0, 0, 0, 0}, kExchangeTimeout);
  exchange_in_ring(hub, kManyRounds, kManyBytes);
}

TEST_F(GpuTransports, BatchesOfCopies) { testing::copy_in_batches(); }

TEST_F(GpuTransports, ALoneRankSendsToItselfByNccl) {
  NcclWorld world(nccl_api(), {0}, kExchangeTimeout);
  for (int request = 0; request < 2; ++request) {
    NcclHub hub(world);
    exchange_in_ring(hub, kManyRounds, kManyBytes);
  }
}

TEST_F(GpuTransports, AfterAFailureNcclJoinsAnew) {
  NcclWorld world(nccl_api(), {0}, kExchangeTimeout);
  const auto fail_amid_an_exchange = [&world] {
    NcclHub hub(world);
    run_ranks(hub, [](Transport& transport) {
      std::byte* memory = transport.allocate(16);
      transport.start(transport.prepare(0, Lane::stale, {{{0, memory, 8}}, {{0, memory + 8, 8}}}));
      fail<DeviceError>("lost");
    });
  };
  EXPECT_THROW(fail_amid_an_exchange(), DeviceError);
  NcclHub hub(world);
  exchange_in_ring(hub);
}

TEST_F(SeveralGpus, PeersByTheirCopyEngines) {
  PeerHub hub(devices_, kExchangeTimeout);
  exchange_in_ring(hub, kManyRounds, kManyBytes);
}

TEST_F(SeveralGpus, RanksByNccl) {
  NcclWorld world(nccl_api(), devices_, kExchangeTimeout);
  NcclHub hub(world);
  exchange_in_ring(hub, kManyRounds, kManyBytes);
}

}  // namespace
}  // namespace pcpp
