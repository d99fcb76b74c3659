#include "benchmarks/verification.h"

#include <gtest/gtest.h>

#include <cmath>
#include <string>

namespace pcpp::benchmarks {
namespace {

Drawing drawing(std::vector<float> latents, std::int64_t halo_bytes = 8) {
  Drawing result;
  result.latents = std::move(latents);
  result.steps.push_back({1.5, 0.5, {4, halo_bytes, 2, 1}});
  return result;
}

TEST(Verification, AcceptsEqualDrawingsWhateverTheirTimes) {
  Drawing slower = drawing({1, 2});
  slower.steps[0].step_ms = 99;
  EXPECT_NO_THROW(check_same(drawing({1, 2}), slower, "two runs"));
}

TEST(Verification, RefusesOneOtherBit) {
  const Drawing other = drawing({1, std::nextafter(2.0F, 3.0F)});
  EXPECT_THROW(check_same(drawing({1, 2}), other, "two runs"), DeviceError);
}

TEST(Verification, RefusesOtherBytesOfAKindOrAMissingStep) {
  EXPECT_THROW(check_same(drawing({1}), drawing({1}, 9), "two runs"), DeviceError);
  Drawing longer = drawing({1});
  longer.steps.push_back(longer.steps[0]);
  EXPECT_THROW(check_same(drawing({1}), longer, "two runs"), DeviceError);
  EXPECT_THROW(check_same(longer, drawing({1}), "two runs"), DeviceError);
}

// 3, 4 has the norm 5: an error of e in one number is e / 5.
TEST(Verification, RefusesSynchronousStepsFarFromOneDevice) {
  const Drawing single = drawing({3, 4});
  EXPECT_NO_THROW(check_synchronous(drawing({3, 4.0049F}), single, DataType::float32, "pcpp"));
  EXPECT_THROW(check_synchronous(drawing({3, 4.0051F}), single, DataType::float32, "pcpp"),
               DeviceError);
  EXPECT_NO_THROW(check_synchronous(drawing({3, 4.49F}), single, DataType::bfloat16, "pcpp"));
  EXPECT_THROW(check_synchronous(drawing({3, 4.51F}), single, DataType::bfloat16, "pcpp"),
               DeviceError);
}

TEST(Verification, RefusesWhatCannotBeCompared) {
  const Drawing single = drawing({3, 4});
  EXPECT_THROW(check_synchronous(drawing({3, NAN}), single, DataType::bfloat16, "pcpp"),
               DeviceError);
  EXPECT_THROW(check_synchronous(drawing({3}), single, DataType::bfloat16, "pcpp"), DeviceError);
  EXPECT_THROW(check_synchronous(drawing({3, 4}), drawing({0, 0}), DataType::float32, "pcpp"),
               DeviceError);
}

TEST(Verification, NamesWhatItRefuses) {
  try {
    check_synchronous(drawing({0, 0}), drawing({3, 4}), DataType::float32, "pcpp 0.3, 2 ranks");
    FAIL() << "nothing was thrown";
  } catch (const DeviceError& error) {
    EXPECT_NE(std::string(error.what()).find("pcpp 0.3, 2 ranks"), std::string::npos);
    EXPECT_NE(std::string(error.what()).find("1.0e+00"), std::string::npos) << error.what();
  }
}

}  // namespace
}  // namespace pcpp::benchmarks
