// Behaviour of a pipeline over its requests: repeatable, clean after a failure.

#include "pcpp/pipeline.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <iterator>
#include <latch>
#include <limits>
#include <string>
#include <thread>
#include <vector>

#include "base/deadline.h"
#include "io/files.h"
#include "pipeline/references.h"
#include "support/errors.h"

namespace pcpp {
namespace {

constexpr int kRanks = 2;

GenerationRequest request() { return patch_request("inputs_32x12.safetensors"); }

Pipeline& pipeline() { return cached_pipeline("patch", kRanks); }

TEST(Pipeline, ASecondRequestOfTheProcessStartsClean) {
  const GenerationResult first = pipeline().generate(request());
  GenerationRequest other = request();
  std::reverse(other.latents->values.begin(), other.latents->values.end());
  pipeline().generate(other);
  const GenerationResult again = pipeline().generate(request());
  ASSERT_EQ(first.step_latents.size(), again.step_latents.size());
  for (std::size_t step = 0; step < first.step_latents.size(); ++step) {
    EXPECT_EQ(first.step_latents[step].values, again.step_latents[step].values);
  }
}

TEST(Pipeline, TheSeedAloneMakesTheNoiseWhateverTheRanks) {
  GenerationRequest seeded = request();
  seeded.latents.reset();
  seeded.seed = 11;
  seeded.parallel.sync_steps = seeded.steps;
  const GenerationResult one = cached_pipeline("patch", 1).generate(seeded);
  const GenerationResult two = pipeline().generate(seeded);
  EXPECT_LE(relative_distance(two.latents, one.latents), 2e-5);
  seeded.seed = 12;
  EXPECT_GE(relative_distance(pipeline().generate(seeded).latents, one.latents), 0.1);
}

// Each rank adds the same noise to the whole latents.
TEST(Pipeline, RanksAddTheSameNoiseInEveryStep) {
  for (const auto kind :
       {SchedulerKind::euler_ancestral, SchedulerKind::dpmpp_2m_sde, SchedulerKind::lcm}) {
    GenerationRequest request = two_tall_pictures();
    request.scheduler = kind;
    request.steps = 4;
    request.parallel.sync_steps = 4;
    request.decode = false;
    const FloatTensor one = cached_pipeline("models/sd15", 1).generate(request).latents;
    EXPECT_LE(relative_distance(cached_pipeline("models/sd15", 3).generate(request).latents, one),
              1e-4)
        << name_of(kind);
    EXPECT_EQ(cached_pipeline("models/sd15", 1).generate(request).latents.values, one.values);
    request.steps = 1;  // which adds none
    EXPECT_NO_THROW(cached_pipeline("models/sd15", 1).generate(request));
    request.scheduler = SchedulerKind::ddim;
    EXPECT_NO_THROW(cached_pipeline("models/sd15", 1).generate(request));
  }
}

TEST(Pipeline, ReportsEveryRanksSteps) {
  GenerationRequest counted = request();
  std::vector<StepProgress> seen;
  counted.on_step = [&](const StepProgress& progress) { seen.push_back(progress); };
  const GenerationResult result = pipeline().generate(counted);
  ASSERT_EQ(seen.size(), static_cast<std::size_t>(counted.steps));
  EXPECT_EQ(seen.front().step, 1);
  EXPECT_EQ(seen.back().step, counted.steps);
  ASSERT_EQ(result.ranks.size(), 2U);
  for (const RankReport& rank : result.ranks) {
    ASSERT_EQ(rank.steps.size(), static_cast<std::size_t>(counted.steps));
    for (int step = 0; step < counted.steps; ++step) {
      const StepRecord& record = rank.steps[static_cast<std::size_t>(step)];
      EXPECT_EQ(record.kind,
                step < counted.parallel.sync_steps ? StepKind::synchronous : StepKind::steady);
      EXPECT_GT(record.sent.gather, 0);
      // Nobody reads what the last step would send.
      EXPECT_EQ(record.sent.attention > 0, step + 1 < counted.steps);
    }
    EXPECT_GT(rank.stale_bytes, 0);
  }
}

std::ptrdiff_t threads_of_process() {
  return std::distance(std::filesystem::directory_iterator("/proc/self/task"), {});
}

// Beside more threads than cores, idle ones too, those of OpenMP sleep wherever they wait for each
// other. The caller's thread is one that has none yet.
TEST(Pipeline, WhileRanksDrawOnlyTheirThreadsAreThere) {
  const auto draw = [](const std::function<void(const StepProgress&)>& on_step) {
    GenerationRequest drawn;
    drawn.prompts = {"a fox"};
    drawn.width = drawn.height = 64;
    drawn.steps = 2;
    drawn.parallel.sync_steps = 1;
    drawn.on_step = on_step;
    Pipeline two_threads("models/emoji-scenes", World(1, 2));
    two_threads.generate(drawn);
    two_threads.generate(drawn);
  };
  std::jthread(draw, nullptr).join();  // libtorch begins a thread that stays
  std::jthread([&] {
    const std::ptrdiff_t most = threads_of_process() + 2;
    draw([&](const StepProgress& /*progress*/) {
      const Deadline deadline = deadline_in(std::chrono::seconds(10));
      while (threads_of_process() > most && Clock::now() < deadline) std::this_thread::yield();
      EXPECT_LE(threads_of_process(), most);
    });
  }).join();
}

TEST(Pipeline, RefusesARequestWhileItDrawsAnother) {
  GenerationRequest drawn = request();
  drawn.on_step = [](const StepProgress& /*progress*/) {
    testing::expect_error<ConfigError>([] { pipeline().generate(request()); },
                                       {"draws another request"});
  };
  EXPECT_NO_THROW(pipeline().generate(drawn));
  EXPECT_NO_THROW(pipeline().generate(request()));
}

struct CallersOwn {
  int value = 0;
};

TEST(Pipeline, WhatOnStepThrowsEndsAllRanksAndComesAsItIs) {
  GenerationRequest failing = request();
  failing.on_step = [](const StepProgress& progress) {
    if (progress.step == 2) throw CallersOwn{7};
  };
  try {
    pipeline().generate(failing);
    FAIL() << "no error";
  } catch (const CallersOwn& error) {
    EXPECT_EQ(error.value, 7);
  }
  failing.on_step = [](const StepProgress&) { throw DeviceError("lost"); };
  try {
    pipeline().generate(failing);
    FAIL() << "no error";
  } catch (const DeviceError& error) {
    EXPECT_STREQ(error.what(), "lost");
  }
  failing.on_step = [](const StepProgress&) { throw std::bad_alloc(); };
  EXPECT_THROW(pipeline().generate(failing), std::bad_alloc);
  EXPECT_NO_THROW(pipeline().generate(request()));
}

TEST(Pipeline, DecodesInBandsWhatOneDeviceDecodesWhole) {
  GenerationRequest drawn = two_tall_pictures();
  drawn.parallel.sync_steps = drawn.steps;
  Pipeline one(test_data("models/sd15"), World(1, 1));
  const GenerationResult whole = one.generate(drawn);
  Pipeline three(test_data("models/sd15"), World(3, 1));
  const GenerationResult banded = three.generate(drawn);
  ASSERT_EQ(banded.images.size(), 2U);
  for (std::size_t i = 0; i < 2; ++i) {
    EXPECT_LE(largest_difference(banded.images[i], whole.images[i]), 1);
  }
}

TEST(Pipeline, NeedsNoTextEncoderOrVaeForARequestWithoutThem) {
  GenerationRequest worded = request();
  worded.prompt_embeds.clear();
  worded.prompts = {"a fox"};
  EXPECT_THROW(pipeline().generate(worded), ConfigError);
  GenerationRequest decoded = request();
  decoded.decode = true;
  EXPECT_THROW(pipeline().generate(decoded), ConfigError);
}

// It is refused before the folder is looked at.
TEST(Pipeline, LeavesAForeignFileOfConvolutionTimesAsItIs) {
  const testing::TemporaryFolder folder;
  PipelineOptions options;
  options.convolution_times = folder.write("config.json", "{\"sample_size\": 64}");
  testing::expect_error<ConfigError>([&] { Pipeline(test_data("nowhere"), World(1, 1), options); },
                                     {"config.json", "is not replaced", "name a new file"});
  EXPECT_EQ(testing::read_text(*options.convolution_times), "{\"sample_size\": 64}");
}

TEST(Pipeline, CountsWhatDoesNotFitOfNegativePromptsToo) {
  GenerationRequest worded;
  worded.prompts = {"a"};
  worded.width = worded.height = 64;
  worded.steps = 1;
  worded.decode = false;
  Pipeline& pipeline = cached_pipeline("models/sd15", 1);
  EXPECT_EQ(pipeline.generate(worded).truncated_tokens, 0);
  const std::string separate = "1 2 3 4 5 6 7 8 9 0 ";
  std::string text;
  for (int i = 0; i < 8; ++i) text += separate;  // 80 tokens, and 75 fit
  worded.negative_prompts = {text};
  EXPECT_EQ(pipeline.generate(worded).truncated_tokens, 5);
  worded.prompts = {text + "1"};
  EXPECT_EQ(pipeline.generate(worded).truncated_tokens, 6);
  worded.prompts = {"a"};
  worded.guidance_scale = 1;
  EXPECT_EQ(pipeline.generate(worded).truncated_tokens, 0);
}

TEST(Pipeline, WaitsAsLongAsATimeoutCanSay) {
  GenerationRequest patient = request();
  patient.peer_timeout = std::chrono::milliseconds::max();
  EXPECT_NO_THROW(pipeline().generate(patient));
}

// No row is there before the deadline, however fast the ranks are.
TEST(Pipeline, APeerThatIsTooSlowIsGivenUpAtTheDeadline) {
  Pipeline slow(test_data("patch"), World(kRanks, 1, Link{"slow", 1e9, 60, false}));
  GenerationRequest impatient = request();
  impatient.peer_timeout = std::chrono::milliseconds(5);
  testing::expect_error<TransportError>([&] { slow.generate(impatient); },
                                        {"until its deadline", "raise the peer timeout"});
}

// The second begins amid the first one's steps, which go on once the second is amid its own.
TEST(Pipeline, TwoThatDrawAtOnceDrawWhatEachDrawsAlone) {
  std::array<GenerationRequest, 2> requests = {request(), request()};
  std::reverse(requests[1].latents->values.begin(), requests[1].latents->values.end());
  std::array<GenerationResult, 2> results;
  std::latch first_draws(1);
  std::latch second_draws(1);
  const auto draw = [&](std::size_t i, const std::function<void(const StepProgress&)>& on_step) {
    Pipeline own(test_data("patch"), World(kRanks, 1));
    GenerationRequest drawn = requests[i];
    drawn.on_step = on_step;
    results[i] = own.generate(drawn);
  };
  std::jthread first([&] {
    draw(0, [&](const StepProgress& progress) {
      if (progress.step == 1) first_draws.count_down();
      if (progress.step == 2) second_draws.wait();
    });
  });
  std::jthread second([&] {
    first_draws.wait();
    draw(1, [&](const StepProgress& progress) {
      if (progress.step == 1) second_draws.count_down();
    });
  });
  first.join();
  second.join();
  for (std::size_t i = 0; i < results.size(); ++i) {
    EXPECT_EQ(results[i].latents.values, pipeline().generate(requests[i]).latents.values) << i;
  }
  EXPECT_NE(results[0].latents.values, results[1].latents.values);
}

TEST(Pipeline, LatentsThatOverflowAreAnError) {
  GenerationRequest huge = request();
  std::fill(huge.latents->values.begin(), huge.latents->values.end(),
            std::numeric_limits<float>::max());
  EXPECT_THROW(pipeline().generate(huge), DeviceError);
}

// One picture of a batch, [1, c, h, w].
FloatTensor picture(const GenerationResult& result, std::int64_t index) {
  std::vector<std::int64_t> shape = result.latents.shape;
  const auto size = static_cast<std::ptrdiff_t>(result.latents.values.size()) / shape[0];
  shape[0] = 1;
  const auto begin = result.latents.values.begin() + index * size;
  return {shape, {begin, begin + size}};
}

TEST(Pipeline, SeveralImagesOfAPromptAreOneDraw) {
  GenerationRequest batch = request();
  batch.latents.reset();
  batch.images_per_prompt = 2;
  batch.seed = 5;
  const GenerationResult both = pipeline().generate(batch);
  ASSERT_EQ(both.latents.shape[0], 2);
  EXPECT_NE(picture(both, 0).values, picture(both, 1).values);
}

// All begin with the same noise, so that the prompt alone tells pictures apart.
TEST(Pipeline, TheImagesOfAPromptFollowEachOther) {
  constexpr double kTolerance = 1e-5;  // of sums in batches of other sizes
  Pipeline& worded = cached_pipeline("models/sd15", 1);
  GenerationRequest batch;
  batch.prompts = {"a fox", "a moon"};
  batch.negative_prompts = {"rain", "a small city"};
  batch.width = batch.height = 64;
  batch.steps = 2;
  batch.decode = false;
  GenerationRequest alone = batch;
  alone.latents = FloatTensor{{1, 4, 8, 8}, {}};
  for (int i = 0; i < 4 * 8 * 8; ++i) {
    alone.latents->values.push_back(std::sin(static_cast<float>(i * i)));
  }
  batch.images_per_prompt = 2;
  batch.latents = FloatTensor{{4, 4, 8, 8}, {}};
  for (int image = 0; image < 4; ++image) {
    batch.latents->values.insert(batch.latents->values.end(), alone.latents->values.begin(),
                                 alone.latents->values.end());
  }
  const GenerationResult all = worded.generate(batch);
  ASSERT_EQ(all.latents.shape[0], 4);
  for (const std::int64_t prompt : {0, 1}) {
    const auto index = static_cast<std::size_t>(prompt);
    alone.prompts = {batch.prompts[index]};
    alone.negative_prompts = {(*batch.negative_prompts)[index]};
    const FloatTensor expected = worded.generate(alone).latents;
    EXPECT_LE(relative_distance(picture(all, 2 * prompt), expected), kTolerance) << prompt;
    EXPECT_LE(relative_distance(picture(all, 2 * prompt + 1), expected), kTolerance) << prompt;
  }
  EXPECT_GE(relative_distance(picture(all, 2), picture(all, 0)), 10 * kTolerance);
}

TEST(Pipeline, Bfloat16StaysNearFloat32) {
  Pipeline rounded(test_data("patch"), World(kRanks, 1), {.dtype = DataType::bfloat16});
  const double distance = relative_distance(rounded.generate(request()).latents,
                                            pipeline().generate(request()).latents);
  EXPECT_GT(distance, 0);
  EXPECT_LE(distance, 0.1);
}

TEST(Pipeline, Float16IsForGpus) {
  EXPECT_THROW(Pipeline(test_data("patch"), World(1, 1), {.dtype = DataType::float16}),
               ConfigError);
}

TEST(Pipeline, RefusesOptionsThatAreNoneOfTheirEnumerations) {
  const auto make = [](const PipelineOptions& options) {
    Pipeline(test_data("patch"), World(1, 1), options);
  };
  testing::expect_error<ConfigError>([&] { make({.dtype = static_cast<DataType>(17)}); },
                                     {"dtype is 17"});
  testing::expect_error<ConfigError>([&] { make({.attention = static_cast<GpuAttention>(9)}); },
                                     {"attention is 9"});
}

TEST(Pipeline, AttentionIsChosenOnGpusAlone) {
  PipelineOptions options;
  options.attention = GpuAttention::flash;
  EXPECT_THROW(Pipeline(test_data("patch"), World(1, 1), options), ConfigError);
}

TEST(World, SharesTheCores) {
  ASSERT_GE(World::cores(), 1);
  EXPECT_EQ(World().ranks(), World::cores());
  EXPECT_EQ(World(3, 2).threads_per_rank(), 2);
  EXPECT_EQ(World(1).threads_per_rank(), World::cores());
  EXPECT_EQ(World(1000).threads_per_rank(), std::max(1, World::cores() / 1000));
  EXPECT_THROW(World(-1), ConfigError);
  EXPECT_THROW(World(1, 100000), ConfigError);
}

TEST(World, RefusesALinkWithoutASpeed) {
  const Link wire{.name = "wire"};
  testing::expect_error<ConfigError>([&] { World(2, 1, wire); },
                                     {"link wire: 0 bytes a second", "at least 1"});
}

}  // namespace
}  // namespace pcpp
