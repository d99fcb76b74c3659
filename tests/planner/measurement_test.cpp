#include "planner/measurement.h"

#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <map>
#include <set>
#include <stop_token>
#include <utility>
#include <vector>

#include "ops/conv2d.h"
#include "parallel/forwarding_transport.h"
#include "parallel/local_transport.h"
#include "parallel/rank_group.h"
#include "pcpp/error.h"
#include "planner/arrangements.h"
#include "planner/configs.h"

namespace pcpp {
namespace {

// On CPU cores, of one thread each.
MeasuredRanks ranks_of(const UNet& unet, int count) {
  return {count, [&unet](int /*rank*/) -> const UNet& { return unet; },
          [](int ranks, const auto& body) {
            LocalHub hub(ranks);
            run_ranks(hub, [&](Transport& transport) {
              at::set_num_threads(1);
              body(transport);
            });
          },
          std::chrono::minutes(1)};
}

// Two levels, small enough to run in a blink.
UNetConfig tiny_config() {
  UNetConfig config = published_config("sd15");
  config.norm_groups = 8;
  config.text_width = 16;
  config.levels = {{32, 1, 2, {1}, {1, 1}}, {32, 1, 2, {}, {}}};
  return config;
}

TEST(MeasuredProfile, HasACurveForEveryCallOfTheNetwork) {
  const UNet unet(tiny_config(), WeightScope::constants(at::kFloat));
  const WorkShape shape{8, 8, 1, 2};
  const DeviceProfile profile = measured_profile(ranks_of(unet, 2), shape, DataType::float32);
  EXPECT_TRUE(profile.measured);
  EXPECT_EQ(profile.extra_weight_bytes, 0);
  EXPECT_FALSE(profile.link);
  NetworkWork network(unet.config(), DataType::float32, 8);
  for (const int devices : {1, 2}) {
    std::set<std::pair<WorkKind, std::string>> known;
    for (const RateCurve& curve : profile.curves) {
      if (curve.devices != devices) continue;
      known.insert({curve.kind, curve.shape});
      if (curve.kind != WorkKind::convolution) continue;
      for (const RateCurve::Point& point : curve.points) EXPECT_GT(point.seconds, 0);
    }
    for (const WorkItem& item : network.of(8, 2).items) {
      EXPECT_TRUE(known.contains({item.work.kind, item.work.shape})) << item.work.shape;
    }
    EXPECT_TRUE(known.contains({WorkKind::elementwise, " x2"}));
    EXPECT_EQ(known.contains({WorkKind::exchange, " x2"}), devices == 2);
    EXPECT_EQ(known.contains({WorkKind::gather, ""}), devices == 2);
  }
  const auto runs = plan_arrangements(unet.config(), shape, 2, {ParallelConfig::pcpp()}, profile);
  ASSERT_GE(runs.size(), 3U);
  for (const PlannedRun& run : runs) EXPECT_GT(run.step_ms, 0);
}

TEST(MeasuredProfile, RunsEveryWorldWithTheMostAndTheLeastReadingAndWithSplitGuidance) {
  const UNet unet(tiny_config(), WeightScope::constants(at::kFloat));
  ASSERT_EQ(unet.row_unit(), 2);
  const auto worlds = [&](int count, const WorkShape& shape) {
    std::vector<int> runs;
    MeasuredRanks measured = ranks_of(unet, count);
    measured.run = [&, run = measured.run](int ranks, const auto& body) {
      runs.push_back(ranks);
      run(ranks, body);
    };
    measured_profile(measured, shape, DataType::float32);
    return runs;
  };
  EXPECT_EQ(worlds(3, {8, 8, 1, 2}), (std::vector<int>{1, 2, 2, 2, 3, 3, 1, 2, 2, 2, 3, 3}));
  EXPECT_EQ(worlds(2, {8, 8, 1, 1}), (std::vector<int>{1, 2, 2, 1, 2, 2}));
  // Two rows of latents are one band.
  EXPECT_EQ(worlds(2, {2, 8, 1, 2}), (std::vector<int>{1, 2, 1, 2}));
  EXPECT_EQ(worlds(4, {2, 8, 1, 2}), (std::vector<int>{1, 2, 1, 2}));
}

// Counts what is started in each lane.
class StartCounter final : public ForwardingTransport {
 public:
  using ForwardingTransport::ForwardingTransport;
  ExchangeId prepare(std::int64_t tag, Lane lane, Exchange exchange) override {
    const ExchangeId id = ForwardingTransport::prepare(tag, lane, std::move(exchange));
    lanes_[id] = lane;
    return id;
  }
  void start(ExchangeId exchange) override {
    ++starts[lanes_.at(exchange)];
    ForwardingTransport::start(exchange);
  }
  std::map<Lane, std::size_t> starts;

 private:
  std::map<ExchangeId, Lane> lanes_;
};

TEST(MeasuredProfile, TimesSteadyStepsBehindASynchronousOne) {
  const UNet unet(tiny_config(), WeightScope::constants(at::kFloat));
  std::vector<std::map<Lane, std::size_t>> runs;  // of rank 0 of two
  MeasuredRanks measured = ranks_of(unet, 2);
  measured.run = [&](int ranks, const auto& body) {
    LocalHub hub(ranks);
    run_ranks(hub, [&](Transport& transport) {
      at::set_num_threads(1);
      StartCounter counter(transport);
      body(counter);
      if (ranks == 2 && transport.rank() == 0) runs.push_back(counter.starts);
    });
  };
  measured_profile(measured, {4, 8, 1, 1}, DataType::float32);
  const std::vector<ParallelConfig> methods = {ParallelConfig::distrifusion(),
                                               ParallelConfig::pcpp(0)};
  ASSERT_EQ(runs.size(), 2 * methods.size());
  for (std::size_t i = 0; i < runs.size(); ++i) {
    const std::vector<Site>& sites = unet.sites().sites();
    const ExchangePlan plan(sites, Topology(2, Guidance::batched, 1, 4, unet.row_unit()),
                            methods[i % 2], {4, 8, 4, 1});
    const std::size_t steady_steps = runs[i][Lane::gather] - 1;
    EXPECT_GE(steady_steps, 2U);
    EXPECT_EQ(runs[i][Lane::stale], sites.size() + steady_steps * plan.bundles().size());
  }
}

TEST(MeasuredProfile, TellsWhatTransformedWeightsTakeMore) {
  const UNet unet(tiny_config(), WeightScope::constants(at::kFloat));
  const auto& convolutions = unet.sites().convolutions();
  const auto kernel =
      std::find_if(convolutions.begin(), convolutions.end(), [](const auto& placed) {
        return placed.kernel->in() == 64 && placed.kernel->fits_winograd();
      });
  ASSERT_NE(kernel, convolutions.end());
  kernel->kernel->use_winograd(WinogradTile::four);
  const DeviceProfile profile =
      measured_profile(ranks_of(unet, 1), {8, 8, 1, 1}, DataType::float32);
  EXPECT_EQ(profile.extra_weight_bytes, 4 * (36 - 9) * 64 * 32);
}

TEST(MeasuredProfile, EndsInTheNextStepAfterAStop) {
  const UNet unet(tiny_config(), WeightScope::constants(at::kFloat));
  for (const int ranks : {1, 2}) {
    std::stop_source source;
    int runs = 0;
    MeasuredRanks measured = ranks_of(unet, ranks);
    measured.run = [&, run = measured.run](int count, const auto& body) {
      ++runs;
      if (count == ranks) source.request_stop();
      run(count, body);
    };
    EXPECT_THROW(measured_profile(measured, {8, 8, 1, 2}, DataType::float32, source.get_token()),
                 Cancelled);
    EXPECT_EQ(runs, ranks);  // one rank is measured first, then two
  }
}

}  // namespace
}  // namespace pcpp
