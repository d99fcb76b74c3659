// Tests that need a GPU, or emulated ones.
#ifndef PCPP_TESTS_PIPELINE_ON_GPUS_H_
#define PCPP_TESTS_PIPELINE_ON_GPUS_H_

#include <gtest/gtest.h>

#include <filesystem>

#include "pcpp/error.h"
#include "pcpp/world.h"

namespace pcpp {

// Skips, with the reason, where there is none.
class OnGpus : public ::testing::Test {
 protected:
  void SetUp() override {
    try {
      World::gpu_count();
    } catch (const ConfigError& error) {
      ASSERT_FALSE(std::filesystem::exists("/dev/nvidiactl")) << "there is a driver without GPUs";
      GTEST_SKIP() << error.what();
    }
  }
};

}  // namespace pcpp

#endif  // PCPP_TESTS_PIPELINE_ON_GPUS_H_
