// Of test programs over libtorch's CUDA half and the fake CUDA runtime: every test has a schedule
// and a seed of its own, by its name, and must break no rule.

#include <gtest/gtest.h>

#include <cstdint>
#include <string>
#include <string_view>

#include "support/fake_gpus.h"
#include "support/host_operators.h"

namespace pcpp::testing {
namespace {

std::uint32_t hash(std::string_view text) {  // FNV-1a
  std::uint32_t value = 2166136261U;
  for (const char character : text) {
    value = (value ^ static_cast<unsigned char>(character)) * 16777619U;
  }
  return value;
}

class Schedules : public ::testing::EmptyTestEventListener {
 public:
  void OnTestStart(const ::testing::TestInfo& test) override {
    const std::uint32_t seed = hash(std::string(test.test_suite_name()) + test.name());
    fake_gpus().set_options({.schedule = static_cast<Schedule>(seed % 5), .seed = seed});
  }
  void OnTestEnd(const ::testing::TestInfo& /*test*/) override {
    fake_gpus().recover();
    fake_gpus().expect_no_problems();
  }
};

}  // namespace

FakeCuda& fake_gpus() {
  static FakeCuda cuda({.devices = 2, .libtorch = true});
  return cuda;
}

}  // namespace pcpp::testing

int main(int argc, char** argv) {
  ::testing::InitGoogleTest(&argc, argv);
  pcpp::testing::fake_gpus();
  pcpp::testing::use_host_operators();
  ::testing::UnitTest::GetInstance()->listeners().Append(new pcpp::testing::Schedules);
  return RUN_ALL_TESTS();
}
