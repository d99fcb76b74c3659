// Behaviour of a pipeline over its requests: repeatable, cancellable, clean after a failure.

#include "pcpp/pipeline.h"

#include <ATen/record_function.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <functional>
#include <iterator>
#include <limits>
#include <memory>
#include <stdexcept>
#include <stop_token>
#include <string>
#include <thread>
#include <utility>

#include "base/deadline.h"
#include "io/files.h"
#include "pipeline/references.h"

namespace pcpp {
namespace {

constexpr int kRanks = 2;

// Tells of each call of libtorch, on the thread that makes it. One at a time, for one rank.
class CallWatch {
 public:
  explicit CallWatch(std::function<void(const std::string& name)> told) {
    told_ = std::move(told);
    handle_ = at::addGlobalCallback(at::RecordFunctionCallback([](const at::RecordFunction& call) {
                                      told_(call.name());
                                      return std::unique_ptr<at::ObserverContext>();
                                    }).scopes({at::RecordScope::FUNCTION}));
  }
  ~CallWatch() { at::removeCallback(handle_); }
  CallWatch(const CallWatch&) = delete;
  CallWatch& operator=(const CallWatch&) = delete;

 private:
  static inline std::function<void(const std::string& name)> told_;
  at::CallbackHandle handle_;
};

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

TEST(Pipeline, AStopEndsAllRanksAndTheNextRequestWorks) {
  std::stop_source source;
  GenerationRequest stopped = request();
  stopped.stop = source.get_token();
  int steps = 0;
  stopped.on_step = [&](const StepProgress& progress) {
    steps = progress.step;
    if (progress.step == 3) source.request_stop();
  };
  EXPECT_THROW(pipeline().generate(stopped), Cancelled);
  EXPECT_EQ(steps, 3);
  EXPECT_NO_THROW(pipeline().generate(request()));
}

TEST(Pipeline, AStopEndsTheDecoding) {
  Pipeline whole(test_data("models/sd15"), World(1, 1));
  GenerationRequest drawn;
  drawn.prompts = {"a fox"};
  drawn.width = drawn.height = 64;
  drawn.steps = 2;
  drawn.parallel.sync_steps = 1;
  EXPECT_NO_THROW(whole.generate(drawn));
  // In the VAE's attention; and behind its last block, where the pixels are made.
  for (const char* call : {"aten::linear", "aten::round"}) {
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

TEST(Pipeline, AStopEndsWhatAnAutomaticRequestMeasures) {
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

TEST(Pipeline, ARankThatThrowsEndsTheOthersAndTheNextRequestWorks) {
  GenerationRequest failing = request();
  failing.on_step = [](const StepProgress& progress) {
    if (progress.step == 2) throw DeviceError("lost");
  };
  try {
    pipeline().generate(failing);
    FAIL() << "no error";
  } catch (const DeviceError& error) {
    EXPECT_STREQ(error.what(), "rank 0: lost");
  }
  EXPECT_NO_THROW(pipeline().generate(request()));
}

TEST(Pipeline, NeedsNoTextEncoderOrVaeForARequestWithoutThem) {
  GenerationRequest worded = request();
  worded.prompt_embeds.clear();
  worded.prompts = {"a fox"};
  EXPECT_THROW(pipeline().generate(worded), CheckpointError);
  GenerationRequest decoded = request();
  decoded.decode = true;
  EXPECT_THROW(pipeline().generate(decoded), CheckpointError);
}

TEST(Pipeline, RefusesATokenizerOfAnotherModel) {
  const std::filesystem::path folder =
      std::filesystem::temp_directory_path() / ("pcpp_tokenizer_" + std::to_string(getpid()));
  std::filesystem::copy(test_data("models/sd15"), folder, std::filesystem::copy_options::recursive);
  std::filesystem::remove_all(folder / "tokenizer");
  std::filesystem::copy(test_data("tokenizer"), folder / "tokenizer");
  Pipeline mixed(folder, World(1, 1));
  GenerationRequest worded;
  worded.prompts = {"a fox"};
  EXPECT_THROW(mixed.generate(worded), CheckpointError);
  std::filesystem::remove_all(folder);
}

TEST(Pipeline, RefusesATextEncoderOfAnotherModelBeforeAnyStep) {
  const testing::TemporaryFolder place;
  const std::filesystem::path folder = place.path() / "mixed";
  std::filesystem::copy(test_data("models/sd15"), folder, std::filesystem::copy_options::recursive);
  for (const char* part : {"text_encoder", "tokenizer"}) {
    std::filesystem::remove_all(folder / part);
    std::filesystem::copy(test_data("models/sd21") / part, folder / part);
  }
  Pipeline mixed(folder, World(1, 1));
  GenerationRequest worded;
  worded.prompts = {"a fox"};
  worded.on_step = [](const StepProgress&) { FAIL() << "a step was made"; };
  testing::expect_error<CheckpointError>([&] { mixed.generate(worded); },
                                         {"24 values", "reads 16", "not of the same model"});
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

TEST(Pipeline, LatentsThatOverflowAreAnError) {
  GenerationRequest huge = request();
  std::fill(huge.latents->values.begin(), huge.latents->values.end(),
            std::numeric_limits<float>::max());
  EXPECT_THROW(pipeline().generate(huge), DeviceError);
}

TEST(Pipeline, SeveralImagesOfAPromptAreOneDraw) {
  GenerationRequest batch = request();
  batch.latents.reset();
  batch.images_per_prompt = 2;
  batch.seed = 5;
  const GenerationResult both = pipeline().generate(batch);
  EXPECT_EQ(both.latents.shape[0], 2);
  const auto half = static_cast<std::ptrdiff_t>(both.latents.values.size() / 2);
  const std::vector<float> first(both.latents.values.begin(), both.latents.values.begin() + half);
  const std::vector<float> second(both.latents.values.begin() + half, both.latents.values.end());
  EXPECT_NE(first, second);
}

TEST(Pipeline, Bfloat16StaysNearFloat32) {
  Pipeline rounded(test_data("patch"), World(kRanks, 1),
                   {.dtype = DataType::bfloat16, .variant = {}, .profile = {}});
  const double distance = relative_distance(rounded.generate(request()).latents,
                                            pipeline().generate(request()).latents);
  EXPECT_GT(distance, 0);
  EXPECT_LE(distance, 0.1);
}

TEST(Pipeline, Float16IsForGpus) {
  EXPECT_THROW(Pipeline(test_data("patch"), World(1, 1),
                        {.dtype = DataType::float16, .variant = {}, .profile = {}}),
               ConfigError);
}

TEST(Pipeline, AttentionIsChosenOnGpusAlone) {
  PipelineOptions options;
  options.attention = GpuAttention::flash;
  EXPECT_THROW(Pipeline(test_data("patch"), World(1, 1), options), ConfigError);
}

TEST(ModelInfo, ComesFromTheConfigsAlone) {
  const ModelInfo info = read_model_info(test_data("patch"));
  EXPECT_EQ(info.latent_channels, 4);
  EXPECT_EQ(info.row_unit, 4);
  EXPECT_EQ(info.max_patches(256), 8);
  EXPECT_EQ(info.max_patches(264), 9);
  EXPECT_EQ(info.max_patches(7), 0);
  EXPECT_THROW(read_model_info(test_data("nowhere")), CheckpointError);
}

TEST(ModelInfo, JudgesARequestBeforeAModelIsLoaded) {
  GenerationRequest asked;
  asked.prompts = {"a fox"};
  const ModelInfo info = read_model_info("models/emoji-scenes");
  EXPECT_NO_THROW(info.check(asked));
  asked.width = 257;
  EXPECT_THROW(info.check(asked), ConfigError);
}

TEST(ModelInfo, RefusesSizesBeyondAnyPicture) {
  const testing::TemporaryFolder folder;
  for (const char* file : {"unet/config.json", "vae/config.json"}) {
    folder.write(file, testing::read_text(test_data("models/sd15") / file));
  }
  nlohmann::json unet = read_json_file(folder.path() / "unet/config.json");
  unet["sample_size"] = 2147483647;
  folder.write("unet/config.json", unet.dump());
  testing::expect_error<CheckpointError>([&] { read_model_info(folder.path()); },
                                         {"sample_size is 2147483647", "at most 16384"});
  unet["sample_size"] = 8;
  folder.write("unet/config.json", unet.dump());
  EXPECT_GT(read_model_info(folder.path()).default_width, 8);
  nlohmann::json vae = read_json_file(folder.path() / "vae/config.json");
  vae["block_out_channels"] = nlohmann::json::array();
  folder.write("vae/config.json", vae.dump());
  testing::expect_error<CheckpointError>([&] { read_model_info(folder.path()); },
                                         {"block_out_channels", "between 1 and 16"});
}

TEST(World, SharesTheCores) {
  EXPECT_GE(World().ranks(), 1);
  EXPECT_EQ(World(3, 2).threads_per_rank(), 2);
  EXPECT_GE(World(1000).threads_per_rank(), 1);
  EXPECT_THROW(World(-1), ConfigError);
  EXPECT_THROW(World(1, 100000), ConfigError);
}

}  // namespace
}  // namespace pcpp
