#include "cache/noise_gather.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <vector>

#include "parallel/local_transport.h"
#include "parallel/rank_group.h"
#include "pcpp/error.h"

namespace pcpp {
namespace {

constexpr auto kTimeout = std::chrono::minutes(1);

ExchangePlan plan_for(int ranks, Guidance guidance) {
  ParallelConfig config;
  config.guidance = guidance;
  return {{}, Topology(ranks, guidance, 2, 21, 4), config, {21, 6, 4, 2, DataType::bfloat16}};
}

TEST(NoiseGather, BringsEveryBandToEveryRank) {
  const ExchangePlan plan = plan_for(4, Guidance::split);
  LocalHub hub(4);
  run_ranks(hub, [&](Transport& transport) {
    NoiseGather gather(plan, transport, kTimeout);
    const int rank = transport.rank();
    for (int step = 0; step < 3; ++step) {
      const std::vector<std::byte> own(static_cast<std::size_t>(plan.noise_bytes(rank)),
                                       static_cast<std::byte>(10 * step + rank));
      gather.run(own.data());
      for (int other = 0; other < 4; ++other) {
        const std::byte* band = gather.band(other);
        EXPECT_TRUE(std::all_of(band, band + plan.noise_bytes(other), [&](std::byte value) {
          return value == static_cast<std::byte>(10 * step + other);
        }));
      }
    }
    EXPECT_EQ(gather.sent_bytes(), plan.sent_bytes(rank, StepKind::steady).gather);
  });
}

TEST(NoiseGather, GivesUpAtItsDeadline) {
  const ExchangePlan plan = plan_for(2, Guidance::batched);
  LocalHub hub(2);
  const std::unique_ptr<Transport> transport = hub.endpoint(0);
  NoiseGather gather(plan, *transport, std::chrono::milliseconds(1));
  const std::vector<std::byte> own(static_cast<std::size_t>(plan.noise_bytes(0)));
  EXPECT_THROW(gather.run(own.data()), TransportError);
}

}  // namespace
}  // namespace pcpp
