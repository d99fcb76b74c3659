// The NVTX ranges of a rank on an emulated GPU.

#include <gtest/gtest.h>

#include "pipeline/references.h"
#include "support/emulated_gpus.h"

namespace pcpp {
namespace {

TEST(Ranges, AreNamedBySiteAndEndWithTheirStep) {
  GenerationRequest request = patch_request("inputs_32x12.safetensors");
  request.steps = 2;
  request.parallel.sync_steps = 1;
  testing::ThreadRanges seen;  // of rank 0, whose thread tells the steps
  request.on_step = [&](const StepProgress&) { seen = testing::ranges_of_thread(); };
  Pipeline(test_data("patch"), World::cuda({0}, 2)).generate(request);
  EXPECT_EQ(seen.open, 0);
  for (const char* name : {"synchronous step", "steady step", "unet", "conv_in",
                           "down_blocks.0.resnets.0.norm1", "normalise", "exchange", "gather"}) {
    EXPECT_TRUE(seen.begun.contains(name)) << name;
  }
}

}  // namespace
}  // namespace pcpp
