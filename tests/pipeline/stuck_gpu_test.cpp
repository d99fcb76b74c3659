// A GPU that does not end what it was given: on emulated ones.

#include <gtest/gtest.h>

#include "pipeline/references.h"
#include "support/emulated_gpus.h"
#include "support/errors.h"

namespace pcpp {
namespace {

TEST(StuckGpu, LaterRequestsAreRefusedAndWaitForNothing) {
  GenerationRequest request = patch_request("inputs_32x12.safetensors");
  request.steps = 2;
  request.parallel.sync_steps = 1;
  Pipeline pipeline(test_data("patch"), World::cuda({0}, 2));
  testing::leave_next_run_unfinished();
  GenerationRequest failing = request;
  failing.on_step = [](const StepProgress&) { throw DeviceError("lost"); };
  testing::expect_error<DeviceError>([&] { pipeline.generate(failing); }, {"lost"});
  for (int later = 0; later < 2; ++later) {
    testing::expect_error<DeviceError>([&] { pipeline.generate(request); },
                                       {"a GPU of cuda:0", "restart the process"});
  }
}

}  // namespace
}  // namespace pcpp
