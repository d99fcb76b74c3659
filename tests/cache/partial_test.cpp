#include "cache/partial.h"

#include <gtest/gtest.h>

#include <limits>

#include "pcpp/error.h"

namespace pcpp {
namespace {

TEST(Partial, IsExactWhereTheProductIsWhole) {
  // In floating point 0.3 * 10 is 3.0000000000000004 / 1.1 * 10-like traps shift the cut by one.
  EXPECT_EQ(Partial(0.3).ceil_of(10), 3);
  EXPECT_EQ(Partial(0.3).floor_of(10), 3);
  EXPECT_EQ(Partial(0.1).ceil_of(30), 3);
  EXPECT_EQ(Partial(0.7).floor_of(10), 7);
  EXPECT_EQ(Partial(0.29).floor_of(100), 29);
  EXPECT_EQ(Partial(0.57).ceil_of(100), 57);
}

TEST(Partial, RoundsOutwardsAboveAndInwardsBelow) {
  EXPECT_EQ(Partial(0.3).ceil_of(11), 4);
  EXPECT_EQ(Partial(0.3).floor_of(11), 3);
  EXPECT_EQ(Partial(0.5).ceil_of(7), 4);
  EXPECT_EQ(Partial(0.5).floor_of(7), 3);
}

TEST(Partial, TakesTheEndsOfItsRange) {
  EXPECT_EQ(Partial(0).ceil_of(57600), 0);
  EXPECT_EQ(Partial(1).floor_of(57600), 57600);
  EXPECT_EQ(Partial(1).ceil_of(57600), 57600);
  EXPECT_EQ(Partial(1e-20).ceil_of(57600), 0);
}

TEST(Partial, RefusesWhatIsNoFraction) {
  EXPECT_THROW(Partial(-0.1), ConfigError);
  EXPECT_THROW(Partial(1.01), ConfigError);
  EXPECT_THROW(Partial(std::numeric_limits<double>::quiet_NaN()), ConfigError);
  EXPECT_THROW(Partial(std::numeric_limits<double>::infinity()), ConfigError);
}

}  // namespace
}  // namespace pcpp
