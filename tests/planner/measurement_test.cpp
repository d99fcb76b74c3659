#include "planner/measurement.h"

#include <gtest/gtest.h>

#include <set>

#include "planner/arrangements.h"
#include "planner/configs.h"

namespace pcpp {
namespace {

// Two levels, small enough to run in a blink.
UNetConfig tiny_config() {
  UNetConfig config = published_config("sd15");
  config.norm_groups = 8;
  config.text_width = 16;
  config.levels = {{32, 1, 2, 1, true, true}, {32, 1, 2, 1, false, false}};
  return config;
}

TEST(MeasuredProfile, HasACurveForEveryCallOfTheNetwork) {
  const UNet unet(tiny_config(), WeightScope::constants(at::kFloat));
  const WorkShape shape{8, 8, 1, 2};
  const DeviceProfile profile = measured_profile(unet, shape, DataType::float32, 2, 1);
  EXPECT_TRUE(profile.measured);
  NetworkWork network(unet.config(), DataType::float32, 8);
  for (const int devices : {1, 2}) {
    std::set<std::pair<WorkKind, std::string>> known;
    for (const RateCurve& curve : profile.curves) {
      if (curve.devices == devices) known.insert({curve.kind, curve.shape});
    }
    for (const WorkItem& item : network.of(8, 2).items) {
      EXPECT_TRUE(known.contains({item.work.kind, item.work.shape})) << item.work.shape;
    }
    EXPECT_TRUE(known.contains({WorkKind::elementwise, " x2"}));
    EXPECT_EQ(known.contains({WorkKind::exchange, " x2"}), devices == 2);
  }
  const auto runs = plan_arrangements(unet.config(), shape, 2, {ParallelConfig::pcpp()}, profile);
  ASSERT_GE(runs.size(), 3U);
  for (const PlannedRun& run : runs) EXPECT_GT(run.step_ms, 0);
}

}  // namespace
}  // namespace pcpp
