// From prompts to pictures with device cuda: on a GPU, or on emulated ones.

#include <ATen/Context.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "io/files.h"
#include "pipeline/on_gpus.h"
#include "pipeline/references.h"
#include "support/call_watch.h"

namespace pcpp {
namespace {

constexpr double kTolerance = 1e-4;  // float32, of other sums in another order

using GpuPictures = OnGpus;

// Of a picture, in synchronous steps.
GenerationRequest worded_request() {
  GenerationRequest request;
  request.prompts = {"a fox"};
  request.width = 64;
  request.height = 128;
  request.guidance_scale = 3;
  request.steps = 2;
  request.parallel.sync_steps = request.steps;
  return request;
}

TEST_F(GpuPictures, TheVaeTakesWhateverKernelServesIt) {
  GenerationRequest drawn = worded_request();
  bool drew = false;
  drawn.on_step = [&](const StepProgress& progress) { drew = progress.step == drawn.steps; };
  PipelineOptions loading;
  loading.attention = GpuAttention::math;
  Pipeline pipeline(test_data("models/sd15"), World::cuda({0}), loading);
  std::vector<bool> others;
  const CallWatch watch([&](const std::string& name) {
    if (!drew || name != "aten::scaled_dot_product_attention") return;
    others.push_back(at::globalContext().userEnabledFlashSDP());
  });
  pipeline.generate(drawn);
  EXPECT_EQ(others, std::vector{true});
}

TEST_F(GpuPictures, PromptsBecomePicturesAsOnACpu) {
  for (const char* model : {"models/sd15", "models/sdxl"}) {
    const GenerationRequest request = worded_request();
    Pipeline cpu(test_data(model), World(1, 1));
    const GenerationResult expected = cpu.generate(request);
    for (const int ranks : {1, 2}) {
      Pipeline gpu(test_data(model), World::cuda({0}, ranks));
      FloatTensor told;
      GenerationRequest asked = request;
      asked.on_step = [&](const StepProgress& progress) { told = progress.latents(); };
      const GenerationResult actual = gpu.generate(asked);
      EXPECT_EQ(told.values, actual.latents.values) << model;
      EXPECT_EQ(gpu.decode(told).at(0).rgb, actual.images.at(0).rgb) << model;
      EXPECT_LE(relative_distance(actual.latents, expected.latents), kTolerance) << model;
      ASSERT_EQ(actual.images.size(), 1U);
      EXPECT_LE(largest_difference(actual.images[0], expected.images[0]), 1) << model << ranks;
    }
  }
}

// Of the two models' VAEs the second's config says so. Of what is sent GroupNorms' moments alone
// are as large in both.
TEST_F(GpuPictures, AVaeIsFloat16WhereItsConfigLetsIt) {
  for (const auto& [model, is_float16] : {std::pair{"models/sd15", false}, {"models/sdxl", true}}) {
    GenerationRequest request = worded_request();
    request.init_images = {striped(64, 128, 1)};
    request.strength = 1;
    const auto draw = [&, model = model](DataType dtype) {
      PipelineOptions loading;
      loading.dtype = dtype;
      return Pipeline(test_data(model), World::cuda({0}, 2), loading).generate(request);
    };
    const GenerationResult single = draw(DataType::float32);
    const GenerationResult half = draw(DataType::float16);
    for (const auto record : {&RankReport::encode, &RankReport::decode}) {
      const SiteBytes expected = (single.ranks[0].*record)->sent;
      const SiteBytes sent = (half.ranks[0].*record)->sent;
      EXPECT_EQ(sent.group_norm, expected.group_norm) << model;
      EXPECT_EQ((is_float16 ? 2 : 1) * sent.halo, expected.halo) << model;
    }
    EXPECT_LE(largest_difference(half.images[0], single.images[0]), 8) << model;
  }
}

TEST_F(GpuPictures, PicturesBecomePicturesAsOnACpu) {
  GenerationRequest request = worded_request();
  request.init_images = {striped(64, 128, 1)};
  request.steps = 6;
  request.parallel.sync_steps = request.steps;
  request.strength = 0.5;
  const GenerationResult expected = cached_pipeline("models/sd15", 1).generate(request);
  for (const int ranks : {1, 2}) {
    Pipeline gpu(test_data("models/sd15"), World::cuda({0}, ranks));
    const GenerationResult actual = gpu.generate(request);
    EXPECT_LE(relative_distance(actual.latents, expected.latents), kTolerance) << ranks;
    EXPECT_LE(largest_difference(actual.images[0], expected.images[0]), 1) << ranks;
  }
}

TEST_F(GpuPictures, MasksKeepTheirPartAsOnACpu) {
  GenerationRequest request = worded_request();
  request.init_images = {striped(64, 128, 1)};
  request.masks = {white_below(48, 64, 128)};
  request.steps = 6;
  request.parallel.sync_steps = 1;
  const testing::TemporaryFolder place;
  const std::filesystem::path model = place.path() / "model";
  const TensorMap references = load_tensors(test_data("seeded/sd15_inpainting.safetensors"));
  write_changed_model(model, "sd15", references);
  for (const std::filesystem::path& folder : {test_data("models/sd15"), model}) {
    const GenerationResult expected = Pipeline(folder, World(2, 1)).generate(request);
    const GenerationResult actual = Pipeline(folder, World::cuda({0}, 2)).generate(request);
    EXPECT_GT(actual.ranks[0].steps[4].graphs, 0);
    EXPECT_LE(relative_distance(actual.latents, expected.latents), 1e-3) << folder;
  }
}

TEST_F(GpuPictures, StepsThatAddNoiseAreTheSameToTheBitAsGraphs) {
  const testing::TemporaryFolder place;
  const std::filesystem::path told = place.path() / "model";  // the guidance scale
  write_changed_model(told, "sd15", load_tensors(test_data("seeded/sd15_told_lcm.safetensors")));
  for (const auto& [model, scheduler] :
       {std::pair{test_data("models/sd15"), SchedulerKind::euler_ancestral},
        {told, SchedulerKind::lcm}}) {
    GenerationRequest request = worded_request();
    request.scheduler = scheduler;
    request.steps = 6;
    request.parallel.sync_steps = 1;
    request.decode = false;
    PipelineOptions eager;
    eager.cuda_graphs = false;
    const World world = World::cuda({0}, 2);
    const GenerationResult graphs = Pipeline(model, world).generate(request);
    EXPECT_GT(graphs.ranks[0].steps[4].graphs, 0);
    const GenerationResult single = Pipeline(model, world, eager).generate(request);
    EXPECT_EQ(graphs.latents.values, single.latents.values) << name_of(scheduler);
    const GenerationResult cpu = Pipeline(model, World(2, 1)).generate(request);
    EXPECT_LE(relative_distance(graphs.latents, cpu.latents), 1e-3) << name_of(scheduler);
  }
}

}  // namespace
}  // namespace pcpp
