// Convolutions by Winograd's algorithm in whole requests.

#include <gtest/gtest.h>

#include <cstdint>

#include "pipeline/references.h"

namespace pcpp {
namespace {

// Two steps of a model whose channels are many enough, with one branch, as guidance magnifies
// rounding. Shapes alone decide how its convolutions compute: the same on every machine.
GenerationResult draw(std::int64_t extra_weight_bytes) {
  PipelineOptions options;
  options.extra_weight_bytes = extra_weight_bytes;
  options.convolution_times.emplace();
  Pipeline pipeline("models/emoji-scenes", World(1, 1), options);
  GenerationRequest request;
  request.prompts = {"a fox"};
  request.width = request.height = 128;
  request.steps = 2;
  request.guidance_scale = 1;
  request.decode = false;
  return pipeline.generate(request);
}

int tiled(const ConvolutionWays& ways) { return ways.tiles_of_two + ways.tiles_of_four; }

TEST(Convolutions, TakeTilesWithinTheLimit) {
  const std::int64_t most = PipelineOptions().extra_weight_bytes;
  const ConvolutionWays none = draw(0).convolutions;
  EXPECT_GT(none.direct, 0);
  EXPECT_EQ(tiled(none), 0);
  EXPECT_EQ(none.extra_weight_bytes, 0);
  const ConvolutionWays many = draw(most).convolutions;
  EXPECT_GT(many.tiles_of_two, 0);
  EXPECT_GT(many.tiles_of_four, 0);
  EXPECT_EQ(many.direct + tiled(many), none.direct);
  EXPECT_LE(many.extra_weight_bytes, most);
  const std::int64_t half = many.extra_weight_bytes / 2;
  const ConvolutionWays fewer = draw(half).convolutions;
  EXPECT_GT(tiled(fewer), 0);
  EXPECT_EQ(fewer.direct + tiled(fewer), none.direct);
  EXPECT_GT(fewer.extra_weight_bytes, 0);
  EXPECT_LE(fewer.extra_weight_bytes, half);
}

TEST(Convolutions, MoveThePictureByRoundingAloneAndTheSameInEveryPipeline) {
  const std::int64_t most = PipelineOptions().extra_weight_bytes;
  const FloatTensor direct = draw(0).latents;
  const FloatTensor tiles = draw(most).latents;
  EXPECT_LE(relative_distance(tiles, direct), 1e-4);
  EXPECT_NE(tiles.values, direct.values) << "no tiles were computed with";
  EXPECT_EQ(draw(0).latents.values, direct.values);
  EXPECT_EQ(draw(most).latents.values, tiles.values);
}

}  // namespace
}  // namespace pcpp
