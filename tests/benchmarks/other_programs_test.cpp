#include "benchmarks/other_programs.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <optional>
#include <set>
#include <sstream>
#include <string>

namespace pcpp::benchmarks {
namespace {

std::optional<CoreSeconds> seconds(const std::string& text, const std::set<int>& cores) {
  std::istringstream stat(text);
  return core_seconds(stat, cores);
}

// Guests' time, which stands last, is a part of the users'.
TEST(OtherPrograms, OfTheirCoresAreBusyOrIdle) {
  const auto ticks = static_cast<double>(sysconf(_SC_CLK_TCK));
  const std::string stat =
      "cpu  9 9 9 9 9 9 9 9 9 9\n"
      "cpu0 1 20 300 4000 50000 600000 7000000 80000000 9 9\n"
      "cpu1 1 0 0 2 0 0 0 0 0 0\n"
      "cpu10 5 0 0 7 0 0 0 0 0 0\n"
      "intr 1 2 3\n";
  const std::optional<CoreSeconds> first = seconds(stat, {0});
  ASSERT_TRUE(first);
  EXPECT_DOUBLE_EQ(first->busy, 87600321 / ticks);
  EXPECT_DOUBLE_EQ(first->idle, 54000 / ticks);
  const std::optional<CoreSeconds> two = seconds(stat, {1, 10});
  ASSERT_TRUE(two);
  EXPECT_DOUBLE_EQ(two->busy, 6 / ticks);
  EXPECT_DOUBLE_EQ(two->idle, 9 / ticks);
  EXPECT_FALSE(seconds(stat, {0, 2}));
}

TEST(OtherPrograms, AreNotToldByOtherFiles) {
  for (const char* text :
       {"", "cpu0", "cpu0 1 2 3 4 5 6 7", "cpu0 a", "cpu 1 2 3 4 5 6 7 8 9 10", "MemTotal: 1"}) {
    EXPECT_FALSE(seconds(text, {0})) << text;
  }
  EXPECT_FALSE(seconds("cpu0 1 2 3 4 5 6 7 8 9 10", {}));
}

TEST(OtherPrograms, AreBusyWhereNoCoreIsLeft) {
  EXPECT_TRUE((CoreShares{0.3, 0.5}.are_busy()));
  EXPECT_FALSE((CoreShares{0.1, 0.5}.are_busy()));
  EXPECT_FALSE((CoreShares{40, 20}.are_busy()));
}

}  // namespace
}  // namespace pcpp::benchmarks
