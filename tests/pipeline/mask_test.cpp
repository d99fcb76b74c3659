// Pictures of which masks keep a part. That they are diffusers' is in diffusers_test.cpp.

#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <vector>

#include "io/files.h"
#include "pipeline/references.h"
#include "pipeline/tensors.h"

namespace pcpp {
namespace {

constexpr int kKeptRows = 80;  // of 192 pixels

GenerationRequest masked() {
  GenerationRequest request = two_tall_pictures();
  request.steps = 5;
  request.parallel.sync_steps = 5;
  request.init_images = {striped(64, 192, 1)};
  request.masks = {white_below(kKeptRows, 64, 192)};
  request.decode = false;
  return request;
}

Pipeline& one_rank() { return cached_pipeline("models/sd15", 1); }

// The latents' rows [begin, end), of all pictures and channels.
std::vector<float> rows_of(const FloatTensor& latents, std::int64_t begin, std::int64_t end) {
  std::vector<float> values;
  const std::int64_t rows = latents.shape[2];
  const std::int64_t columns = latents.shape[3];
  for (std::size_t i = 0; i < latents.values.size(); ++i) {
    const std::int64_t row = static_cast<std::int64_t>(i) / columns % rows;
    if (row >= begin && row < end) values.push_back(latents.values[i]);
  }
  return values;
}

TEST(Masks, WhatTheyKeepDoesNotDependOnThePrompt) {
  GenerationRequest request = masked();
  const FloatTensor one = one_rank().generate(request).latents;
  request.prompts = {"an apple", "a house at night"};
  const FloatTensor other = one_rank().generate(request).latents;
  EXPECT_EQ(rows_of(one, 0, kKeptRows / 8), rows_of(other, 0, kKeptRows / 8));
  EXPECT_NE(rows_of(one, kKeptRows / 8, 24), rows_of(other, kKeptRows / 8, 24));
  EXPECT_GE(relative_distance(one, other), 0.1);
}

TEST(Masks, AllWhiteOnesKeepNothing) {
  GenerationRequest request = masked();
  request.masks = {white_below(0, 64, 192)};
  request.strength = 0.6;
  const FloatTensor all = one_rank().generate(request).latents;
  request.masks.clear();
  EXPECT_EQ(one_rank().generate(request).latents.values, all.values);
}

TEST(Masks, OneServesAllPromptsAsOneForEachDoes) {
  GenerationRequest request = masked();
  request.images_per_prompt = 2;
  request.latents =
      FloatTensor{{4, 4, 24, 8}, std::vector<float>(std::size_t{4} * 4 * 24 * 8, 0.5F)};
  const FloatTensor all = one_rank().generate(request).latents;
  request.masks = {request.masks[0], white_below(0, 64, 192)};
  const FloatTensor each = one_rank().generate(request).latents;
  const auto half = static_cast<std::ptrdiff_t>(all.values.size() / 2);
  EXPECT_TRUE(std::equal(all.values.begin(), all.values.begin() + half, each.values.begin()));
  EXPECT_FALSE(std::equal(all.values.begin() + half, all.values.end(), each.values.begin() + half));
}

TEST(Masks, BandsDrawWhatOneDeviceDraws) {
  const testing::TemporaryFolder place;
  const std::filesystem::path inpainting = place.path() / "model";
  const TensorMap references = load_tensors(test_data("seeded/sd15_inpainting.safetensors"));
  write_changed_model(inpainting, "sd15", references);
  for (const std::filesystem::path& model : {test_data("models/sd15"), inpainting}) {
    SCOPED_TRACE(model);
    GenerationRequest request = masked();
    request.decode = true;
    const GenerationResult whole = Pipeline(model, World(1, 1)).generate(request);
    Pipeline three(model, World(3, 1));
    const GenerationResult split = three.generate(request);
    EXPECT_LE(relative_distance(split.latents, whole.latents), 2e-5);
    EXPECT_LE(largest_difference(split.images[1], whole.images[1]), 1);
    request.parallel.guidance = Guidance::split;
    EXPECT_LE(
        relative_distance(Pipeline(model, World(2, 1)).generate(request).latents, whole.latents),
        2e-5);
    request.parallel = ParallelConfig::pcpp();
    request.parallel.sync_steps = 1;
    const GenerationResult steady = three.generate(request);
    EXPECT_EQ(steady.ranks[0].steps[2].kind, StepKind::steady);
    EXPECT_GT(relative_distance(steady.latents, whole.latents), 1e-4);
    EXPECT_LE(relative_distance(steady.latents, whole.latents), 0.5);
  }
}

// What is planned and measured counts nine channels in and four out.
TEST(Masks, AutomaticRequestsTakeThem) {
  const testing::TemporaryFolder place;
  const std::filesystem::path model = place.path() / "model";
  const TensorMap references = load_tensors(test_data("seeded/sd15_inpainting.safetensors"));
  write_changed_model(model, "sd15", references);
  GenerationRequest request = masked();
  request.automatic = true;
  EXPECT_TRUE(Pipeline(model, World(2, 1)).generate(request).chosen.has_value());
  const DeviceProfile& profile = DeviceProfile::named("a100-nvlink");
  PlanRequest asked;
  asked.width = 64;
  asked.height = 192;
  asked.devices = 2;
  const Plan planned = make_plan(model, asked, profile);
  const Plan other = make_plan(test_data("models/sd15"), asked, profile);
  ASSERT_EQ(planned.runs.size(), other.runs.size());
  for (std::size_t i = 0; i < planned.runs.size(); ++i) {
    EXPECT_EQ(planned.runs[i].sent.gather, other.runs[i].sent.gather);
    EXPECT_GT(planned.runs[i].mean_flops, other.runs[i].mean_flops);
  }
}

TEST(Masks, AreWhereTheLumaIsAtLeastHalf) {
  // The luma of 0, 218 and 0 is 127.96, that of 0, 217 and 0 is 127.37.
  const Image image{4, 1, {0, 218, 0, 0, 217, 0, 128, 128, 128, 127, 127, 127}};
  EXPECT_EQ(to_host(to_mask(image, 1, 4)).values, (std::vector<float>{1, 0, 1, 0}));
}

TEST(Masks, OfAnotherSizeAreBroughtToTheRequests) {
  const FloatTensor mask = to_host(to_mask(white_below(3, 5, 6), 96, 64));
  EXPECT_EQ(mask.shape, (std::vector<std::int64_t>{1, 1, 96, 64}));
  EXPECT_EQ(rows_of(mask, 0, 48), std::vector<float>(std::size_t{48} * 64, 0));
  EXPECT_EQ(rows_of(mask, 48, 96), std::vector<float>(std::size_t{48} * 64, 1));
}

}  // namespace
}  // namespace pcpp
