// What a pipeline leaves of its host's process as it was.

#include <ATen/Parallel.h>
#include <gtest/gtest.h>
#include <omp.h>

#include <cfenv>
#include <cstddef>
#include <filesystem>
#include <string>
#include <thread>
#include <vector>

#include "io/files.h"
#include "pipeline/references.h"
#include "support/signal_mask.h"

namespace pcpp {
namespace {

GenerationRequest request() { return patch_request("inputs_32x12.safetensors"); }

TEST(Host, ItsSignalHandlersDoNotRunOnRanks) {
  Pipeline pipeline(test_data("patch"), World(2, 1));
  GenerationRequest drawn = request();
  std::vector<int> blocked;
  drawn.on_step = [&](const StepProgress&) { blocked = blocked_of({SIGINT, SIGPROF, SIGSEGV}); };
  pipeline.generate(drawn);
  EXPECT_EQ(blocked, (std::vector<int>{SIGINT, SIGPROF}));
  EXPECT_EQ(blocked_of({SIGINT, SIGPROF}), std::vector<int>{});
}

// Of one that computes for the first time.
int threads_of_new_thread() {
  int threads = 0;
  std::jthread([&] {
    at::internal::lazy_init_num_threads();
    threads = at::get_num_threads();
  }).join();
  return threads;
}

TEST(Host, ItsNewThreadsComputeWithItsOwnNumberOfThreads) {
  const int before = threads_of_new_thread();
  const int other = before == 1 ? 2 : 1;
  Pipeline pipeline(test_data("patch"), World(1, other));
  EXPECT_EQ(threads_of_new_thread(), before);
  GenerationRequest drawn = request();
  drawn.on_step = [&](const StepProgress&) {
    EXPECT_EQ(at::get_num_threads(), other);
    EXPECT_EQ(threads_of_new_thread(), before);
  };
  pipeline.generate(drawn);
  EXPECT_EQ(threads_of_new_thread(), before);
}

TEST(Host, MayComputeInOnStepWithAnyNumberOfThreads) {
  Pipeline pipeline(test_data("patch"), World(1, 1));
  GenerationRequest drawn = request();
  std::vector<int> threads;
  drawn.on_step = [&](const StepProgress&) {
    threads.push_back(at::get_num_threads());
    omp_set_num_threads(2);
  };
  pipeline.generate(drawn);
  EXPECT_EQ(threads, std::vector(static_cast<std::size_t>(drawn.steps), 1));
}

TEST(Host, MayRoundAsItLikes) {
  Pipeline pipeline(test_data("patch"), World(2, 1));
  const std::vector<float> expected = pipeline.generate(request()).latents.values;
  std::fesetround(FE_TOWARDZERO);
  const GenerationResult result = pipeline.generate(request());
  std::fesetround(FE_TONEAREST);
  EXPECT_EQ(result.latents.values, expected);
}

// Of its own, with a copy of a model.
struct ModelFolder : testing::TemporaryFolder {
  ModelFolder() {
    copy(test_data("models/sd15"), path() / "model", std::filesystem::copy_options::recursive);
  }
};

GenerationRequest small_picture() {
  GenerationRequest request{.prompts = {"a fox"}, .width = 64, .height = 64, .steps = 2};
  request.parallel.sync_steps = 1;
  return request;
}

TEST(Host, MayGoToAnotherFolderOnceAPipelineIsMade) {
  const ModelFolder folder;
  Pipeline pipeline = [&] {
    const testing::WorkingFolder beside(folder.path());
    return Pipeline("model", World(1, 1), {.convolution_times = "times.json"});
  }();
  EXPECT_EQ(pipeline.generate(small_picture()).images.size(), 1U);
}

TEST(Host, MayRemoveTheFolderOnceEverythingIsLoaded) {
  const ModelFolder folder;
  Pipeline pipeline(folder.path() / "model", World(1, 1));
  pipeline.generate(small_picture());
  remove_all(folder.path() / "model");
  EXPECT_EQ(pipeline.generate(small_picture()).images.size(), 1U);
}

}  // namespace
}  // namespace pcpp
