// Pictures that begin with other pictures. That they are diffusers' is in diffusers_test.cpp.

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <string>
#include <vector>

#include "io/files.h"
#include "pipeline/references.h"
#include "pipeline/tensors.h"
#include "support/errors.h"

namespace pcpp {
namespace {

GenerationRequest from_stripes() {
  GenerationRequest request = two_tall_pictures();
  request.width = request.height = 0;
  request.steps = 5;
  request.strength = 0.7;
  request.parallel.sync_steps = 5;
  request.init_images = {striped(64, 192, 1)};
  request.keep_steps = true;
  return request;
}

Pipeline& one_rank() { return cached_pipeline("models/sd15", 1); }

TEST(InitImages, AreEncodedInBandsAsOneDeviceEncodesThem) {
  const GenerationResult whole = one_rank().generate(from_stripes());
  const GenerationResult split = cached_pipeline("models/sd15", 3).generate(from_stripes());
  EXPECT_LE(relative_distance(split.latents, whole.latents), 2e-5);
  EXPECT_LE(largest_difference(split.images[1], whole.images[1]), 1);
  EXPECT_EQ(split.step_latents.size(), 3U);
  EXPECT_GT(split.times.encode_seconds, 0);
  for (const RankReport& rank : split.ranks) {
    ASSERT_TRUE(rank.encode.has_value());
    EXPECT_EQ(rank.encode->step, -1);
    EXPECT_GT(rank.encode->sent.halo, 0);
    EXPECT_EQ(rank.steps.front().step, 0);
  }
}

TEST(InitImages, MoveThePictureTheMoreTheLessStrengthThereIs) {
  const auto distance_at = [](double strength) {
    GenerationRequest request = from_stripes();
    request.strength = strength;
    request.decode = false;
    const FloatTensor one = one_rank().generate(request).latents;
    request.init_images = {striped(64, 192, 90)};
    return relative_distance(one_rank().generate(request).latents, one);
  };
  EXPECT_GT(distance_at(0.4), 2 * distance_at(1));
}

TEST(InitImages, OneServesAllPromptsAsOneForEachDoes) {
  GenerationRequest request = from_stripes();
  request.images_per_prompt = 2;
  request.decode = false;
  request.latents =
      FloatTensor{{4, 4, 24, 8}, std::vector<float>(std::size_t{4} * 4 * 24 * 8, 0.5F)};
  const FloatTensor all = one_rank().generate(request).latents;
  request.init_images = {striped(64, 192, 1), striped(64, 192, 90)};
  const FloatTensor each = one_rank().generate(request).latents;
  // Pictures 0 and 1 are the first prompt's; what is drawn for the second image comes after it.
  const std::size_t size = all.values.size() / 4;
  const auto picture = [&](const FloatTensor& latents, std::size_t index) {
    const auto begin = latents.values.begin() + static_cast<std::ptrdiff_t>(index * size);
    return FloatTensor{{static_cast<std::int64_t>(size)},
                       {begin, begin + static_cast<std::ptrdiff_t>(size)}};
  };
  for (const std::size_t index : {0U, 1U}) {
    EXPECT_LE(relative_distance(picture(each, index), picture(all, index)), 0.05) << index;
  }
  for (const std::size_t index : {2U, 3U}) {
    EXPECT_GE(relative_distance(picture(each, index), picture(all, index)), 0.1) << index;
  }
  EXPECT_EQ(picture(each, 0).values, picture(each, 1).values);
}

// tests/reference/seeded_make.py
TEST(ToPixels, OfAnotherSizeAreMadeByABicubicFilterAsWideAsTheStep) {
  constexpr double kLevels = 1.5 / 255 * 2;  // Pillow rounds to bytes in both directions
  const TensorMap references = load_tensors(test_data("seeded/resized.safetensors"));
  const Image image = images_of(references.at("image")).front();
  for (const char* name : {"smaller", "larger", "image"}) {
    const FloatTensor& expected = references.at(name);
    const FloatTensor actual = to_host(to_pixels(image, expected.shape[2], expected.shape[3]));
    ASSERT_EQ(actual.shape, expected.shape);
    for (std::size_t i = 0; i < expected.values.size(); ++i) {
      ASSERT_NEAR(actual.values[i], expected.values[i] / 255 * 2 - 1, kLevels) << name << i;
    }
  }
}

// Where bicubic interpolation would leave the range.
TEST(ToPixels, StayInTheirRange) {
  Image edge{8, 1, {}};
  for (int i = 0; i < 24; ++i) edge.rgb.push_back(i < 12 ? 0 : 255);
  const FloatTensor pixels = to_host(to_pixels(edge, 2, 24));
  EXPECT_EQ(*std::ranges::min_element(pixels.values), -1);
  EXPECT_EQ(*std::ranges::max_element(pixels.values), 1);
}

TEST(InitImages, OfAnotherSizeAreBroughtToTheRequests) {
  GenerationRequest request = from_stripes();
  request.init_images = {striped(1, 300, 9)};
  request.width = 64;
  request.height = 192;
  const GenerationResult result = one_rank().generate(request);
  EXPECT_EQ(result.images[0].width, 64);
  EXPECT_EQ(result.images[0].height, 192);
}

TEST(InitImages, AreDrawnFromByEveryMethodAndType) {
  const GenerationResult whole = one_rank().generate(from_stripes());
  GenerationRequest split = from_stripes();
  split.parallel.guidance = Guidance::split;
  EXPECT_LE(
      relative_distance(cached_pipeline("models/sd15", 2).generate(split).latents, whole.latents),
      2e-5);
  GenerationRequest steady = from_stripes();
  steady.parallel = ParallelConfig::pcpp();
  steady.parallel.sync_steps = 1;
  const GenerationResult drawn = cached_pipeline("models/sd15", 3).generate(steady);
  EXPECT_EQ(drawn.ranks[0].steps[1].kind, StepKind::steady);
  EXPECT_LE(relative_distance(drawn.latents, whole.latents), 0.5);
  PipelineOptions options;
  options.dtype = DataType::bfloat16;
  Pipeline coarse(test_data("models/sd15"), World(2, 1), options);
  EXPECT_LE(relative_distance(coarse.generate(from_stripes()).latents, whole.latents), 0.1);
}

TEST(InitImages, TheirNoiseIsTheSeedsOrTheLatentsThatAreGiven) {
  GenerationRequest request = from_stripes();
  request.decode = false;
  const auto draw = [&] { return one_rank().generate(request).latents; };
  const FloatTensor drawn = draw();
  EXPECT_EQ(draw().values, drawn.values);
  request.seed = 1;
  const FloatTensor another = draw();
  EXPECT_GE(relative_distance(another, drawn), 0.1);
  request.latents =
      FloatTensor{{2, 4, 24, 8}, std::vector<float>(std::size_t{2} * 4 * 24 * 8, 0.25F)};
  EXPECT_GE(relative_distance(draw(), another), 0.1);
}

TEST(InitImages, NeedAVae) {
  namespace fs = std::filesystem;
  const testing::TemporaryFolder folder;
  const fs::path model = folder.path() / "model";
  fs::copy(test_data("patch"), model, fs::copy_options::recursive);
  GenerationRequest request = patch_request("inputs_32x12.safetensors");
  request.init_images = {striped(96, 256, 1)};
  testing::expect_error<ConfigError>([&] { Pipeline(model, World(1, 1)).generate(request); },
                                     {"no VAE"});
}

TEST(InitImages, TheirEncodingIsTracedAheadOfTheSteps) {
  GenerationRequest request = from_stripes();
  request.trace = true;
  const GenerationResult result = cached_pipeline("models/sd15", 3).generate(request);
  for (std::size_t rank = 0; rank < 3; ++rank) {
    const RankTrace& trace = result.trace->ranks[rank];
    ASSERT_EQ(trace.spans.front().name, "encode");
    EXPECT_EQ(trace.spans.front().step, -1);
    std::int64_t bytes = 0;
    for (const TraceTransfer& transfer : trace.transfers) {
      if (transfer.step != -1) continue;
      bytes += transfer.bytes;
      EXPECT_TRUE(transfer.exchange.first_site.starts_with("encoder."));
    }
    EXPECT_EQ(bytes, result.ranks[rank].encode->sent.total());
    EXPECT_GT(bytes, 0);
  }
  const testing::TemporaryFolder folder;
  EXPECT_NO_THROW(write_chrome_trace(folder.path() / "run.json", result));
}

}  // namespace
}  // namespace pcpp
