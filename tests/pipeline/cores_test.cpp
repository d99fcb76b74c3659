#include "base/cores.h"

#include <gtest/gtest.h>

#include <optional>
#include <sstream>
#include <string>

#include "io/files.h"

namespace pcpp {
namespace {

TEST(Cores, AContainersQuotaIsWorthWholeCores) {
  EXPECT_EQ(cores_of_quota("200000 100000"), 2);
  EXPECT_EQ(cores_of_quota("150000 100000\n"), 2);
  EXPECT_EQ(cores_of_quota("1000 100000"), 1);
  EXPECT_EQ(cores_of_quota("max 100000"), std::nullopt);
  for (const char* text : {"", "200000", "200000 ", "200000 max", "0 100000", "-1 100000", "1 0"}) {
    EXPECT_EQ(cores_of_quota(text), std::nullopt) << text;
  }
}

TEST(Cores, TheQuotasOfAllGroupsAboveCount) {
  const testing::TemporaryFolder folder;
  const auto cores = [&](const std::string& membership) {
    std::istringstream text(membership);
    return cores_of_groups(folder.path(), text);
  };
  EXPECT_EQ(cores("0::/user.slice/app\n"), std::nullopt);
  folder.write("user.slice/app/cpu.max", "max 100000\n");
  folder.write("user.slice/cpu.max", "300000 100000\n");
  folder.write("cpu.max", "800000 100000\n");
  EXPECT_EQ(cores("0::/user.slice/app\n"), 3);
  EXPECT_EQ(cores("0::/elsewhere\n"), 8);
  folder.write("cpu/box/cpu.cfs_quota_us", "200000\n");
  folder.write("cpu/box/cpu.cfs_period_us", "100000\n");
  folder.write("cpu/cpu.cfs_quota_us", "-1\n");
  folder.write("cpu/cpu.cfs_period_us", "100000\n");
  EXPECT_EQ(cores("3:cpu,cpuacct:/box/inner\n2:cpuset:/\n"), 2);
  EXPECT_EQ(cores("3:cpu:/\nno line of one\n"), std::nullopt);
}

}  // namespace
}  // namespace pcpp
