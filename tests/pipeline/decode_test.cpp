// Latents that a caller has decoded: those of a result, of a step, and his own.

#include <gtest/gtest.h>

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <stop_token>
#include <string>
#include <utility>
#include <vector>

#include "pipeline/references.h"
#include "support/errors.h"

namespace pcpp {
namespace {

Pipeline& pipeline(int ranks) { return cached_pipeline("models/sd15", ranks); }

std::vector<std::vector<std::uint8_t>> pixels_of(const std::vector<Image>& images) {
  std::vector<std::vector<std::uint8_t>> pixels;
  for (const Image& image : images) pixels.push_back(image.rgb);
  return pixels;
}

TEST(Decoding, OfAResultsLatentsMakesItsPictures) {
  for (const int ranks : {1, 3}) {
    const GenerationResult drawn = pipeline(ranks).generate(two_tall_pictures());
    const std::vector<Image> decoded = pipeline(ranks).decode(drawn.latents);
    EXPECT_EQ(pixels_of(decoded), pixels_of(drawn.images)) << ranks;
    EXPECT_EQ(decoded.at(0).width, 64);
    EXPECT_EQ(decoded.at(0).height, 192);
  }
}

// The smallest that there are, of which two of three ranks get no row.
TEST(Decoding, TakesOtherSizesThanTheModels) {
  const FloatTensor latents{{1, 4, 1, 3}, std::vector<float>(12, 0.5F)};
  const std::vector<Image> one = pipeline(1).decode(latents);
  ASSERT_EQ(one.size(), 1U);
  EXPECT_EQ(one[0].width, 24);
  EXPECT_EQ(one[0].height, 8);
  EXPECT_EQ(pixels_of(pipeline(3).decode(latents)), pixels_of(one));
}

TEST(Decoding, StepsTellTheirLatents) {
  GenerationRequest request = two_tall_pictures();
  request.keep_steps = true;
  request.decode = false;
  std::vector<FloatTensor> told;
  request.on_step = [&](const StepProgress& progress) { told.push_back(progress.latents()); };
  const GenerationResult drawn = pipeline(3).generate(request);
  ASSERT_EQ(told.size(), drawn.step_latents.size());
  for (std::size_t step = 0; step < told.size(); ++step) {
    EXPECT_EQ(told[step].shape, drawn.step_latents[step].shape);
    EXPECT_EQ(told[step].values, drawn.step_latents[step].values) << step;
  }
  EXPECT_EQ(told.back().values, drawn.latents.values);
}

TEST(Decoding, IsRefusedWhileThePipelineDraws) {
  GenerationRequest request = two_tall_pictures();
  int refused = 0;
  request.on_step = [&](const StepProgress& progress) {
    testing::expect_error<ConfigError>([&] { pipeline(1).decode(progress.latents()); },
                                       {"draws another request"});
    ++refused;
  };
  EXPECT_EQ(pipeline(1).generate(request).images.size(), 2U);
  EXPECT_EQ(refused, request.steps);
}

TEST(Decoding, OfWhatAreNoLatentsIsRefusedByName) {
  const auto refuses = [](const FloatTensor& latents, const std::string& part) {
    testing::expect_error<ConfigError>([&] { pipeline(1).decode(latents); }, {part});
  };
  refuses({}, "latents have shape , this model's are images x 4 x rows x columns");
  refuses({{4, 2, 2}, std::vector<float>(16)}, "shape 4 x 2 x 2");
  refuses({{1, 3, 2, 2}, std::vector<float>(12)}, "shape 1 x 3 x 2 x 2");
  refuses({{1, 4, 2049, 1}, std::vector<float>(8196)}, "2049x1 rows and columns");
  refuses({{0, 4, 2, 2}, {}}, "an extent of 0");
  refuses({{1, 4, -2, 2}, std::vector<float>(4)}, "an extent of -2");
  refuses({{1, 4, 2, 2}, std::vector<float>(15)}, "15 values");
  refuses({{1, 4, 1, 1}, {0, 0, NAN, 0}}, "nan at place 2");
  testing::expect_error<ConfigError>(
      [] {
        cached_pipeline("patch", 1).decode({{1, 4, 1, 1}, std::vector<float>(4)});
      },
      {"the model has no VAE"});
  Pipeline moved(test_data("models/sd15"), World(1, 1));
  const Pipeline other = std::move(moved);
  testing::expect_error<ConfigError>([&] { moved.decode({}); }, {"moved from"});  // NOLINT
}

TEST(Decoding, EndsAtAStop) {
  const FloatTensor latents{{1, 4, 2, 2}, std::vector<float>(16, 1)};
  std::stop_source source;
  source.request_stop();
  for (const int ranks : {1, 3}) {
    EXPECT_THROW(pipeline(ranks).decode(latents, {.stop = source.get_token()}), Cancelled);
    EXPECT_EQ(pipeline(ranks).decode(latents).size(), 1U);
  }
}

}  // namespace
}  // namespace pcpp
