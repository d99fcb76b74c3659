#include "kernels/vector_level.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>

#include "pcpp/error.h"

namespace pcpp {
namespace {

// Each in a process of its own, as the level is found once.
class VectorLevelDeathTest : public testing::Test {
 protected:
  void SetUp() override { GTEST_FLAG_SET(death_test_style, "threadsafe"); }

  static VectorLevel level_with(const char* name) {
    setenv("PCPP_VECTOR_LEVEL", name, 1);
    return vector_level();
  }
};

TEST_F(VectorLevelDeathTest, IsAtMostThatOfTheEnvironment) {
  for (const VectorLevel most : kVectorLevels) {
    // Asked of this process alone: another must find its level after it is told the highest.
    const auto is_expected = [most](int status) {
      const VectorLevel expected = std::min(most, vector_level());
      return testing::ExitedWithCode(static_cast<int>(expected))(status);
    };
    EXPECT_EXIT(std::exit(static_cast<int>(level_with(name_of(most).data()))), is_expected, "")
        << name_of(most);
  }
}

TEST_F(VectorLevelDeathTest, RefusesANameThatIsNone) {
  EXPECT_EXIT(
      {
        try {
          level_with("sse");
        } catch (const ConfigError& error) {
          std::fputs(error.what(), stderr);
          std::exit(3);
        }
      },
      testing::ExitedWithCode(3), "'sse': make it one of baseline, avx2, avx512, amx");
}

}  // namespace
}  // namespace pcpp
