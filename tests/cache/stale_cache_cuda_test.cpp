// The stale cache over the GPU transports and the fake CUDA runtime: whatever the devices do in
// whatever order, it reads what it reads over the local transport.
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <map>
#include <mutex>
#include <tuple>
#include <vector>

#include "cache/cache_steps.h"
#include "cache/noise_gather.h"
#include "cache/stale_cache.h"
#include "parallel/rank_group.h"
#include "support/fake_worlds.h"

namespace pcpp {
namespace {

class StaleCacheCudaTest : public ::testing::TestWithParam<testing::MethodCase> {};

void run_over(const testing::MethodCase& method,
              const std::vector<testing::TransportCase>& transports) {
  for (const testing::TransportCase& transport : transports) {
    SCOPED_TRACE(transport.name);
    testing::run_steps(method, *transport.make(method.ranks));
  }
}

TEST_P(StaleCacheCudaTest, ReadsOverPeersWhatItReadsOverTheLocalTransport) {
  run_over(GetParam(), testing::peer_cases());
}

TEST_P(StaleCacheCudaTest, ReadsOverNcclWhatItReadsOverTheLocalTransport) {
  run_over(GetParam(), testing::nccl_cases());
}

// What every rank reads at every site in every step, decoded.
using Readings = std::map<std::tuple<int, int, SiteId>, std::vector<std::byte>>;

class EncodedSteps {
 public:
  EncodedSteps(const ExchangePlan& plan, testing::TransportWorld& world)
      : plan_(plan), world_(world) {}

  Readings run() {
    run_ranks(world_.hub(), [this](Transport& transport) { run_rank(transport); });
    return readings_;
  }

 private:
  static constexpr auto kTimeout = std::chrono::minutes(1);

  void run_rank(Transport& transport) {
    StaleCache cache(plan_, transport, kTimeout);
    NoiseGather gather(plan_, transport, kTimeout);
    std::byte* own = transport.allocate(1 << 16);
    for (int step = 0; step + 1 < testing::kSteps; ++step) {
      cache.begin_step(testing::kind_of(step), testing::kind_of(step + 1));
      for (SiteId site = 0; site < static_cast<SiteId>(plan_.sites().size()); ++site) {
        const std::int64_t bytes = write_own(transport, step, site, own);
        const Reading reading = cache.swap(site, own, bytes / plan_.batch());
        world_.compute(transport, [=, this, rank = transport.rank()] {
          keep({rank, step, site}, reading);
          std::fill_n(own, bytes, std::byte{0xEE});
        });
      }
      cache.end_step();
      gather.run(own);
    }
    transport.drain(deadline_in(kTimeout));
  }

  // Moments whose variance float32 keeps, and rows of other values.
  std::int64_t write_own(Transport& transport, int step, SiteId site, std::byte* own) {
    const SitePlan& plan = plan_.site(site);
    const int patch = plan_.topology().patch_of(transport.rank());
    const std::int64_t bytes =
        plan_.batch() * plan.owned[static_cast<std::size_t>(patch)].size() * plan.row_bytes;
    const int seed = (step * 100 + site) * 10 + patch;
    world_.compute(transport, [=, is_moments = plan.kind == SiteKind::group_norm] {
      if (is_moments) {
        auto* values = reinterpret_cast<double*>(own);
        for (std::int64_t i = 0; i < bytes / 8; i += 2) {
          values[i] = static_cast<double>(seed % 97 + i);
          values[i + 1] = values[i] * values[i] + static_cast<double>(1 + i);
        }
        return;
      }
      auto* values = reinterpret_cast<float*>(own);
      for (std::int64_t i = 0; i < bytes / 4; ++i) {
        values[i] = static_cast<float>((seed * 31 + i * 17) % 211 - 100);
      }
    });
    return bytes;
  }

  void keep(const std::tuple<int, int, SiteId>& place, const Reading& reading) {
    const std::lock_guard lock(mutex_);
    std::vector<std::byte>& kept = readings_[place];
    const std::int64_t row_bytes = plan_.site(std::get<2>(place)).row_bytes;
    for (const Piece& piece : reading.pieces) {
      kept.insert(kept.end(), piece.data,
                  piece.data + plan_.batch() * piece.rows.size() * row_bytes);
    }
  }

  const ExchangePlan& plan_;
  testing::TransportWorld& world_;
  std::mutex mutex_;
  Readings readings_;
};

TEST(StaleCacheCuda, DecodesOverGpusWhatItDecodesOverTheLocalTransport) {
  const std::vector<Site> sites = testing::sites();
  for (const RowFormat format : {RowFormat::int8, RowFormat::int4}) {
    ParallelConfig config = testing::with_pool(4);
    config.row_format = format;
    const Topology topology(3, config.guidance, 2, testing::kRows, 4);
    const ExchangePlan plan(sites, topology, config, {testing::kRows, testing::kColumns, 4, 1});
    testing::LocalWorld local(3);
    const Readings expected = EncodedSteps(plan, local).run();
    for (const auto& cases : {testing::peer_cases(), testing::nccl_cases()}) {
      for (const testing::TransportCase& transport : cases) {
        EXPECT_EQ(EncodedSteps(plan, *transport.make(3)).run(), expected)
            << transport.name << (format == RowFormat::int4 ? ", int4" : ", int8");
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Methods, StaleCacheCudaTest, ::testing::ValuesIn(testing::method_cases()),
                         [](const auto& suite) { return suite.param.name; });

}  // namespace
}  // namespace pcpp
