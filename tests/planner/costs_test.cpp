#include "planner/costs.h"

#include <gtest/gtest.h>

#include "pcpp/error.h"
#include "planner/configs.h"
#include "support/errors.h"

namespace pcpp {
namespace {

RateCurve curve(std::vector<RateCurve::Point> points) {
  return {WorkKind::linear, "", 1, std::move(points)};
}

TEST(SecondsOf, IsLinearBetweenPointsAndBeyondThem) {
  const RateCurve rising = curve({{10, 3}, {20, 5}, {40, 6}});
  EXPECT_DOUBLE_EQ(seconds_of(rising, 10), 3);
  EXPECT_DOUBLE_EQ(seconds_of(rising, 15), 4);
  EXPECT_DOUBLE_EQ(seconds_of(rising, 30), 5.5);
  EXPECT_DOUBLE_EQ(seconds_of(rising, 5), 2);  // a fixed cost of 1
  EXPECT_DOUBLE_EQ(seconds_of(rising, 80), 8);
  EXPECT_DOUBLE_EQ(seconds_of(curve({{0, 1}, {10, 3}}), 5), 2);
  EXPECT_DOUBLE_EQ(seconds_of(curve({{0, 3}}), 7), 3);
}

TEST(SecondsOf, FollowsTheRateWhereTheLineIsNoCost) {
  const RateCurve steep = curve({{10, 1}, {20, 4}});  // the line is negative at 0
  EXPECT_DOUBLE_EQ(seconds_of(steep, 5), 0.5);
  const RateCurve falling = curve({{10, 4}, {20, 2}});
  EXPECT_DOUBLE_EQ(seconds_of(falling, 40), 4);
  EXPECT_DOUBLE_EQ(seconds_of(curve({{10, 2}}), 25), 5);
}

TEST(LeaveLatencyTo, TakesTheLinksLatencyFromTheGatherAlone) {
  std::vector<RateCurve> curves = {curve({{10, 3}}), curve({{0, 3}, {10, 7}}), curve({{0, 1}})};
  curves[1].kind = curves[2].kind = WorkKind::gather;
  leave_latency_to({.name = "slow", .bytes_per_second = 1, .latency_seconds = 2}, curves);
  EXPECT_EQ(curves[0].points[0].seconds, 3);
  EXPECT_EQ(curves[1].points[0].seconds, 1);
  EXPECT_EQ(curves[1].points[1].seconds, 5);
  EXPECT_EQ(curves[2].points[0].seconds, 0);
}

TEST(Costs, PreferTheShapeThenTheKindThenTheNearestWork) {
  DeviceProfile profile = counting_profile();
  profile.curves.push_back({WorkKind::linear, "1>2", 1, {{2, 14}}});
  EXPECT_DOUBLE_EQ(Costs(profile, 1).seconds(WorkKind::linear, "1>2", 2), 14);
  EXPECT_DOUBLE_EQ(Costs(profile, 1).seconds(WorkKind::linear, "3>4", 2), 2);
  std::erase_if(profile.curves,
                [](const RateCurve& c) { return c.kind == WorkKind::linear && c.shape.empty(); });
  profile.curves.push_back({WorkKind::linear, "5>6", 1, {{1000, 9000}}});
  EXPECT_DOUBLE_EQ(Costs(profile, 1).seconds(WorkKind::linear, "3>4", 500), 4500);
  EXPECT_DOUBLE_EQ(Costs(profile, 1).seconds(WorkKind::linear, "3>4", 2), 14);
  EXPECT_DOUBLE_EQ(Costs(profile, 1).seconds(WorkKind::exchange, "", 5), 0);
}

TEST(Costs, TakeTheCurvesOfAsManyDevices) {
  DeviceProfile profile;
  profile.name = "two worlds";
  for (const int devices : {1, 4}) {
    for (const RateCurve& one : counting_profile().curves) {
      profile.curves.push_back(one);
      profile.curves.back().devices = devices;
      for (RateCurve::Point& point : profile.curves.back().points) point.seconds *= devices;
    }
  }
  const auto rate = [&](int devices) {
    return Costs(profile, devices).seconds(WorkKind::linear, "", 1);
  };
  EXPECT_DOUBLE_EQ(rate(1), 1);
  EXPECT_DOUBLE_EQ(rate(2), 4);
  EXPECT_DOUBLE_EQ(rate(4), 4);
  EXPECT_DOUBLE_EQ(rate(8), 4);
}

TEST(Costs, RefuseAProfileWithoutAKind) {
  DeviceProfile profile = counting_profile();
  profile.curves.erase(profile.curves.begin());
  testing::expect_error<ConfigError>([&] { const Costs costs(profile, 1); },
                                     {"no curve of convolution"});
}

}  // namespace
}  // namespace pcpp
