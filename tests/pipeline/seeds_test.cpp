// Pictures of a batch with seeds of their own.

#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "io/files.h"
#include "pipeline/references.h"

namespace pcpp {
namespace {

constexpr double kTolerance = 2e-5;  // of batches of other sizes, and of other places in them

FloatTensor picture_of(const FloatTensor& latents, std::size_t index) {
  FloatTensor picture{latents.shape, {}};
  picture.shape[0] = 1;
  const std::size_t size = latents.values.size() / static_cast<std::size_t>(latents.shape[0]);
  const auto begin = latents.values.begin() + static_cast<std::ptrdiff_t>(index * size);
  picture.values.assign(begin, begin + static_cast<std::ptrdiff_t>(size));
  return picture;
}

// Each of the batch's pictures, drawn with its seed, beside the request for it alone.
void expect_each_as_alone(Pipeline& pipeline, GenerationRequest batch) {
  batch.decode = false;
  batch.seeds.clear();
  const std::size_t count =
      batch.prompts.size() * static_cast<std::size_t>(batch.images_per_prompt);
  for (std::size_t i = 0; i < count; ++i) batch.seeds.push_back(7 + 5 * i);
  const FloatTensor drawn = pipeline.generate(batch).latents;
  for (std::size_t i = 0; i < count; ++i) {
    const std::size_t prompt = i / static_cast<std::size_t>(batch.images_per_prompt);
    GenerationRequest alone = batch;
    alone.images_per_prompt = 1;
    alone.prompts = {batch.prompts[prompt]};
    alone.seeds.clear();
    alone.seed = batch.seeds[i];
    for (std::vector<Image>* images : {&alone.init_images, &alone.masks}) {
      if (images->size() > 1) *images = {images->at(prompt)};
    }
    EXPECT_LE(relative_distance(picture_of(drawn, i), pipeline.generate(alone).latents), kTolerance)
        << i;
  }
}

TEST(Seeds, DrawEachPictureAsAlone) {
  GenerationRequest request = two_tall_pictures();
  request.images_per_prompt = 2;
  for (const auto scheduler : {SchedulerKind::ddim, SchedulerKind::euler_ancestral}) {
    request.scheduler = scheduler;
    expect_each_as_alone(cached_pipeline("models/sd15", 1), request);
  }
  expect_each_as_alone(cached_pipeline("models/sd15", 3), request);
}

// An init image, or one for each prompt, is encoded once, and each picture has its own draw of it.
TEST(Seeds, DrawFromInitImagesAndMasksAsAlone) {
  GenerationRequest request = two_tall_pictures();
  request.images_per_prompt = 2;
  request.steps = 4;
  request.strength = 0.6;
  request.scheduler = SchedulerKind::euler_ancestral;
  Pipeline& pipeline = cached_pipeline("models/sd15", 1);
  for (const std::size_t images : {1U, 2U}) {
    request.init_images = {striped(64, 192, 1)};
    request.init_images.resize(images, striped(64, 192, 90));
    request.masks.clear();
    expect_each_as_alone(pipeline, request);
    request.masks = {white_below(100, 64, 192)};
    expect_each_as_alone(pipeline, request);
  }
}

// What a U-Net for inpainting is shown of them has draws of its own, too.
TEST(Seeds, DrawWhatIsLeftOfInitImagesAsAlone) {
  const testing::TemporaryFolder place;
  const std::filesystem::path model = place.path() / "model";
  ASSERT_TRUE(write_changed_model(model, "sd15",
                                  load_tensors(test_data("seeded/sd15_inpainting.safetensors"))));
  Pipeline pipeline(model, World(2, 1));
  GenerationRequest request = two_tall_pictures();
  request.parallel.sync_steps = request.steps = 4;
  request.init_images = {striped(64, 192, 1)};
  request.masks = {white_below(100, 64, 192), white_below(40, 64, 192)};
  for (const double strength : {0.6, 1.0}) {
    request.strength = strength;
    expect_each_as_alone(pipeline, request);
  }
}

TEST(Seeds, OneIsTheRequestsAndTwoAlikeDrawAlike) {
  GenerationRequest request = two_tall_pictures();
  request.prompts = {"a fox"};
  request.decode = false;
  Pipeline& pipeline = cached_pipeline("models/sd15", 1);
  request.seed = 9;
  const FloatTensor one = pipeline.generate(request).latents;
  request.seed = 0;
  request.seeds = {9};
  EXPECT_EQ(pipeline.generate(request).latents.values, one.values);
  request.images_per_prompt = 2;
  request.seeds = {9, 9};
  const FloatTensor two = pipeline.generate(request).latents;
  EXPECT_LE(relative_distance(picture_of(two, 0), picture_of(two, 1)), kTolerance);
}

TEST(Seeds, AreOneForEachPicture) {
  const ModelInfo model = read_model_info(test_data("models/sd15"));
  for (const std::size_t count : {1U, 3U}) {
    expect_refused(model, two_tall_pictures(), std::to_string(count) + " seeds for 2 pictures",
                   [&](GenerationRequest& request) { request.seeds.resize(count); });
  }
}

}  // namespace
}  // namespace pcpp
