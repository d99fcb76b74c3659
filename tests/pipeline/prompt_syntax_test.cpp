// Prompts as ComfyUI reads them, against embeddings of tests/reference/weighted_make.py.

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "pipeline/references.h"
#include "support/errors.h"

namespace pcpp {
namespace {

std::string digits(int tens) {
  std::string text;
  for (int i = 0; i < tens; ++i) text += "1 2 3 4 5 6 7 8 9 0 ";
  return text;
}

GenerationRequest small_request() {
  GenerationRequest request;
  request.width = 64;
  request.height = 128;
  request.steps = 3;
  request.guidance_scale = 4;
  request.parallel.sync_steps = 1;
  request.decode = false;
  return request;
}

GenerationRequest worded_request() {
  GenerationRequest request = small_request();
  request.prompts = {"(a red fox:1.5) in ((deep)) snow", digits(8)};
  request.prompts[1].replace(request.prompts[1].size() - 2, 1, "(0:0.4)");
  request.negative_prompts = {"a (blurry:-0.5) fox"};
  request.prompt_syntax = PromptSyntax::comfyui;
  return request;
}

class PromptSyntaxes : public ::testing::TestWithParam<std::string> {};

TEST_P(PromptSyntaxes, DrawWhatTheirEmbeddingsDraw) {
  GenerationRequest given = small_request();
  given.prompt_embeds = load_tensors(test_data("weighted/" + GetParam() + ".safetensors"));
  Pipeline& pipeline = cached_pipeline("models/" + GetParam(), 2);
  const GenerationResult expected = pipeline.generate(given);
  GenerationRequest worded = worded_request();
  const GenerationResult actual = pipeline.generate(worded);
  EXPECT_LE(relative_distance(actual.latents, expected.latents), 1e-5);
  EXPECT_EQ(actual.truncated_tokens, 0);
  worded.prompt_syntax = PromptSyntax::plain;
  const GenerationResult plain = pipeline.generate(worded);
  EXPECT_GE(relative_distance(plain.latents, expected.latents), 0.01);
  EXPECT_GT(plain.truncated_tokens, 0);
}

INSTANTIATE_TEST_SUITE_P(Families, PromptSyntaxes, ::testing::Values("sd15", "sdxl"),
                         [](const auto& suite) { return suite.param; });

TEST(PromptSyntax, WithoutWeightsAShortPromptIsPlainToTheBit) {
  GenerationRequest request = small_request();
  request.prompts = {"a red fox", "snow"};
  Pipeline& pipeline = cached_pipeline("models/sd15", 1);
  const GenerationResult plain = pipeline.generate(request);
  request.prompt_syntax = PromptSyntax::comfyui;
  EXPECT_EQ(pipeline.generate(request).latents.values, plain.latents.values);
}

TEST(PromptSyntax, RefusesPromptsThatCannotBeMadeAsLong) {
  GenerationRequest request = small_request();
  request.prompt_syntax = PromptSyntax::comfyui;
  request.prompts.clear();
  for (const int sections : {1, 4, 5, 7, 9}) request.prompts.push_back(digits(sections * 15 / 2));
  Pipeline& pipeline = cached_pipeline("models/sd15", 1);
  testing::expect_error<ConfigError>(
      [&] { pipeline.generate(request); },
      {"77, 308, 385, 539, 693 tokens", "20000", "draw each by itself"});
  request.prompts = {digits(8 * 15 / 2)};
  request.negative_prompts = {digits(9 * 15 / 2)};
  EXPECT_NO_THROW(pipeline.generate(request));
}

// The folder has no text encoders.
TEST(PromptSyntax, AnEmbeddingThatThereIsNotIsNamed) {
  GenerationRequest request;
  request.prompts = {"a fox"};
  request.negative_prompts = {"rain, embedding:glow"};
  request.prompt_syntax = PromptSyntax::comfyui;
  testing::expect_error<ConfigError>([&] { cached_pipeline("models/sd15", 1).generate(request); },
                                     {"names the embedding glow", "there is none"});
}

}  // namespace
}  // namespace pcpp
