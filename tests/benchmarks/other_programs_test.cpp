#include "benchmarks/other_programs.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <sstream>
#include <string>

namespace pcpp::benchmarks {
namespace {

std::optional<double> busy(const std::string& text) {
  std::istringstream stat(text);
  return busy_seconds(stat);
}

// Neither idle time nor that of guests, which is a part of the users'.
TEST(OtherPrograms, BusyIsWhatIsNotIdle) {
  const auto ticks = static_cast<double>(sysconf(_SC_CLK_TCK));
  EXPECT_EQ(busy("cpu  1 20 300 4000 50000 600000 7000000 80000000 9 9\ncpu0 1 1"),
            87600321 / ticks);
}

TEST(OtherPrograms, AreNotToldByOtherFiles) {
  for (const char* text :
       {"", "cpu", "cpu  1 2 3 4 5 6 7", "cpu0 1 2 3 4 5 6 7 8 9 10", "MemTotal: 1"}) {
    EXPECT_FALSE(busy(text)) << text;
  }
}

}  // namespace
}  // namespace pcpp::benchmarks
