// What a stop ends, and when.

#include <gtest/gtest.h>

#include <chrono>
#include <map>
#include <mutex>
#include <semaphore>
#include <stop_token>
#include <string>
#include <thread>

#include "pipeline/references.h"
#include "support/call_watch.h"

namespace pcpp {
namespace {

constexpr int kRanks = 2;

GenerationRequest request() { return patch_request("inputs_32x12.safetensors"); }

Pipeline& pipeline() { return cached_pipeline("patch", kRanks); }

// After so many steps; 0: before generate() is called.
class StoppedAfter : public ::testing::TestWithParam<int> {};

TEST_P(StoppedAfter, ARequestEndsAndTheNextOneDrawsWhole) {
  const GenerationResult whole = pipeline().generate(request());
  std::stop_source source;
  GenerationRequest stopped = request();
  stopped.stop = source.get_token();
  if (GetParam() == 0) source.request_stop();
  int steps = 0;
  stopped.on_step = [&](const StepProgress& progress) {
    steps = progress.step;
    if (progress.step == GetParam()) source.request_stop();
  };
  EXPECT_THROW(pipeline().generate(stopped), Cancelled);
  EXPECT_EQ(steps, GetParam());
  EXPECT_EQ(pipeline().generate(request()).latents.values, whole.latents.values);
}

// 8 steps: the last one too, though no VAE runs after it.
INSTANTIATE_TEST_SUITE_P(Steps, StoppedAfter, ::testing::Values(0, 1, 3, 8));

// Over a link of a byte a second, which the first exchange takes for hours. The stop comes when
// both ranks have made the last calls ahead of it.
TEST(Cancellation, AStopEndsRanksThatWaitForEachOther) {
  constexpr int kCallsAhead = 5;  // from conv_in on
  Pipeline slow(test_data("patch"), World(kRanks, 1, Link{"slow", 1, 0, false}));
  GenerationRequest stopped = request();
  stopped.peer_timeout = std::chrono::minutes(1);
  std::stop_source source;
  stopped.stop = source.get_token();
  std::counting_semaphore about_to_wait(0);
  std::jthread stopper([&] {
    for (int rank = 0; rank < kRanks; ++rank) about_to_wait.acquire();
    source.request_stop();
  });
  std::mutex mutex;
  std::map<std::thread::id, int> calls;
  const CallWatch watch([&](const std::string& name) {
    const std::lock_guard lock(mutex);
    const std::thread::id rank = std::this_thread::get_id();
    if (name == "mkldnn::_convolution_pointwise") calls.try_emplace(rank, 0);
    if (calls.contains(rank) && ++calls[rank] == 1 + kCallsAhead) about_to_wait.release();
  });
  EXPECT_THROW(slow.generate(stopped), Cancelled);
  about_to_wait.release(kRanks);
}

// The folder lacks what the request would have to load.
TEST(Cancellation, AStopThatCameFirstEndsARequestBeforeAnythingIsLoaded) {
  std::stop_source source;
  source.request_stop();
  GenerationRequest stopped = request();
  stopped.decode = true;
  stopped.stop = source.get_token();
  EXPECT_THROW(pipeline().generate(stopped), Cancelled);
}

TEST(Cancellation, AStopEndsTheLoadingAtTheNextWeight) {
  std::stop_source source;
  int allocated = 0;
  const CallWatch watch([&](const std::string& name) {
    if (name != "aten::empty") return;
    ++allocated;
    source.request_stop();
  });
  EXPECT_THROW(Pipeline(test_data("patch"), World(1, 1), {.stop = source.get_token()}), Cancelled);
  EXPECT_EQ(allocated, 1);
}

TEST(Cancellation, AStopEndsTheTextEncoder) {
  Pipeline whole(test_data("models/sd15"), World(1, 1));
  GenerationRequest worded;
  worded.prompts = {"a fox"};
  std::stop_source source;
  worded.stop = source.get_token();
  int layers = 0;
  {
    const CallWatch watch([&](const std::string& name) {
      if (name != "aten::scaled_dot_product_attention") return;
      ++layers;
      source.request_stop();
    });
    EXPECT_THROW(whole.generate(worded), Cancelled);
  }
  EXPECT_EQ(layers, 1);
}

TEST(Cancellation, AStopEndsTheDecoding) {
  Pipeline whole(test_data("models/sd15"), World(1, 1));
  GenerationRequest drawn;
  drawn.prompts = {"a fox"};
  drawn.width = drawn.height = 64;
  drawn.steps = 2;
  drawn.parallel.sync_steps = 1;
  EXPECT_NO_THROW(whole.generate(drawn));
  // At the VAE's first upsampling; and after its last block, where the pixels are made.
  for (const char* call : {"aten::upsample_nearest2d", "aten::round"}) {
    std::stop_source source;
    drawn.stop = source.get_token();
    int steps = 0;
    drawn.on_step = [&](const StepProgress& progress) { steps = progress.step; };
    int pixels = 0;
    const CallWatch watch([&](const std::string& name) {
      if (steps == drawn.steps && name == call) source.request_stop();
      if (name == "aten::round") ++pixels;
    });
    EXPECT_THROW(whole.generate(drawn), Cancelled);
    EXPECT_TRUE(source.stop_requested());
    EXPECT_EQ(pixels, call == std::string("aten::round") ? 1 : 0);
  }
}

TEST(Cancellation, AStopEndsTheEncodingOfAnInitImage) {
  Pipeline whole(test_data("models/sd15"), World(1, 1));
  GenerationRequest drawn;
  drawn.prompts = {"a fox"};
  drawn.init_images = {striped(64, 64, 1)};
  drawn.on_step = [](const StepProgress&) { FAIL() << "a step was made"; };
  std::stop_source source;
  drawn.stop = source.get_token();
  int padded = 0;
  {
    // Each of the three times that the image is halved.
    const CallWatch watch([&](const std::string& name) {
      if (name != "aten::constant_pad_nd") return;
      ++padded;
      source.request_stop();
    });
    EXPECT_THROW(whole.generate(drawn), Cancelled);
  }
  EXPECT_EQ(padded, 1);
  drawn.stop = {};
  drawn.on_step = {};
  EXPECT_NO_THROW(whole.generate(drawn));
}

// Two images of another size are resized one by one; 4 steps add noise 3 times, after the noise
// that the run begins with.
TEST(Cancellation, AStopEndsWhatIsMadeAheadOfTheSteps) {
  Pipeline whole(test_data("models/sd15"), World(1, 1));
  GenerationRequest drawn;
  drawn.prompts = {"a fox", "a cat"};
  drawn.width = drawn.height = 64;
  drawn.steps = 4;
  drawn.scheduler = SchedulerKind::lcm;
  const auto calls_until_stopped = [&](const std::string& call, int last) {
    std::stop_source source;
    drawn.stop = source.get_token();
    int calls = 0;
    const CallWatch watch([&](const std::string& name) {
      if (name == call && ++calls == last) source.request_stop();
    });
    EXPECT_THROW(whole.generate(drawn), Cancelled);
    return calls;
  };
  EXPECT_EQ(calls_until_stopped("aten::normal_", 2), 2);
  drawn.init_images = {striped(32, 64, 1), striped(40, 64, 2)};
  EXPECT_EQ(calls_until_stopped("aten::_upsample_bicubic2d_aa", 1), 1);
}

TEST(Cancellation, AStopEndsWhatAnAutomaticRequestMeasures) {
  Pipeline fresh(test_data("patch"), World(1, 1));
  GenerationRequest automatic = request();
  automatic.automatic = true;
  std::stop_source source;
  automatic.stop = source.get_token();
  int embedded = 0;  // timesteps, one a step
  {
    const CallWatch watch([&](const std::string& name) {
      if (name != "aten::cos") return;
      ++embedded;
      source.request_stop();
    });
    EXPECT_THROW(fresh.generate(automatic), Cancelled);
  }
  EXPECT_EQ(embedded, 1);
  automatic.stop = {};
  EXPECT_NO_THROW(fresh.generate(automatic));
}

}  // namespace
}  // namespace pcpp
