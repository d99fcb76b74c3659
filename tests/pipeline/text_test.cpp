// Words of textual inversion, and text encoders without their last layers, against embeddings of
// tests/reference/text_make.py.

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "pipeline/references.h"
#include "support/errors.h"

namespace pcpp {
namespace {

using testing::expect_error;

GenerationRequest small_request(const std::string& prompt, const std::string& negative) {
  GenerationRequest request;
  request.prompts = {prompt};
  request.negative_prompts = {negative};
  request.width = 64;
  request.height = 64;
  request.steps = 2;
  request.guidance_scale = 4;
  request.decode = false;
  return request;
}

PipelineOptions with_words(const std::string& family) {
  PipelineOptions options;
  options.textual_inversions = {{test_data("text/" + family + "_glow.safetensors"), "<glow>"},
                                {test_data("text/" + family + "_mist.safetensors"), "mist"}};
  return options;
}

class Texts : public ::testing::TestWithParam<std::string> {
 protected:
  // The same request with the embeddings of a case in place of its prompts.
  GenerationRequest given(const GenerationRequest& request, const std::string& name) const {
    const TensorMap all = load_tensors(test_data("text/" + GetParam() + ".safetensors"));
    GenerationRequest result = request;
    result.prompts.clear();
    result.negative_prompts.reset();
    result.prompt_syntax = PromptSyntax::plain;
    result.clip_skip = 0;
    for (const auto& [key, tensor] : all) {
      if (key.starts_with(name + ".")) result.prompt_embeds[key.substr(name.size() + 1)] = tensor;
    }
    return result;
  }
  void expect_as_given(const GenerationRequest& request, const std::string& name) {
    const GenerationResult expected = pipeline_.generate(given(request, name));
    EXPECT_LE(relative_distance(pipeline_.generate(request).latents, expected.latents), 1e-5);
  }

  Pipeline pipeline_{test_data("models/" + GetParam()), World(1, 1), with_words(GetParam())};
};

TEST_P(Texts, ReadAddedWordsAsDiffusersDoes) {
  expect_as_given(small_request("a <glow> fox, MIST and<glow>: snow", "mist"), "words");
}

TEST_P(Texts, ReadNamedEmbeddingsAtTheirWeights) {
  GenerationRequest request =
      small_request("a (embedding:<glow>:1.5) fox, embedding:mist, red", "blurry");
  request.prompt_syntax = PromptSyntax::comfyui;
  expect_as_given(request, "weighted");
}

TEST_P(Texts, LeaveOutLastLayersAsDiffusersDoes) {
  GenerationRequest request = small_request("a red fox under the rainbow", "blurry");
  request.clip_skip = 1;
  expect_as_given(request, "skip");
  request.prompt_syntax = PromptSyntax::comfyui;
  expect_as_given(request, "skip");
}

INSTANTIATE_TEST_SUITE_P(Families, Texts, ::testing::Values("sd15", "sdxl"),
                         [](const auto& suite) { return suite.param; });

TEST(TextualInversion, OfAnotherModelIsRefusedAsItIsLoaded) {
  expect_error<CheckpointError>(
      [] { Pipeline(test_data("models/sdxl"), World(1, 1), with_words("sd15")); },
      {"sd15_glow.safetensors", "clip_l and clip_g"});
}

TEST(TextualInversion, HasAWordOfItsOwn) {
  const auto load = [](const std::string& first, const std::string& second) {
    PipelineOptions options = with_words("sd15");
    options.textual_inversions[0].word = first;
    options.textual_inversions[1].word = second;
    Pipeline(test_data("models/sd15"), World(1, 1), options);
  };
  EXPECT_NO_THROW(load("", ""));  // their files' names
  expect_error<ConfigError>([&] { load("a b", "c"); }, {"'a b'", "without spaces"});
  expect_error<ConfigError>([&] { load("a\u00a0b", "c"); }, {"without spaces"});
  expect_error<ConfigError>([&] { load("\xff", "c"); }, {"UTF-8"});
  expect_error<ConfigError>([&] { load("\u00c9a", "e\u0301A"); }, {"two textual inversions"});
  expect_error<ConfigError>([&] { load("", "SD15_glow"); }, {"'SD15_glow'", "sd15_mist"});
}

TEST(TextualInversion, ThatIsNamedMustBeThere) {
  GenerationRequest request = small_request("a embedding:glow", "");
  request.prompt_syntax = PromptSyntax::comfyui;
  expect_error<ConfigError>([&] { cached_pipeline("models/sd15", 1).generate(request); },
                            {"the embedding glow, and there is none"});
}

TEST(ClipSkip, LeavesALayerOfEachTextEncoder) {
  for (const auto& [family, most] : {std::pair{"sd15", 2}, {"sdxl", 1}}) {
    Pipeline& pipeline = cached_pipeline(std::string("models/") + family, 1);
    EXPECT_EQ(pipeline.model().most_clip_skip, most);
    GenerationRequest request = small_request("a fox", "");
    request.clip_skip = most;
    EXPECT_NO_THROW(pipeline.generate(request));
    for (const int wrong : {-1, most + 1}) {
      request.clip_skip = wrong;
      expect_error<ConfigError>([&] { pipeline.generate(request); },
                                {std::to_string(wrong), "from 0 to " + std::to_string(most)});
    }
  }
  GenerationRequest given;
  given.prompt_embeds = {{"prompt_embeds", {{1, 77, 16}, std::vector<float>(1232)}}};
  given.clip_skip = 1;
  expect_error<ConfigError>([&] { cached_pipeline("models/sd15", 1).generate(given); },
                            {"clip_skip of 1", "no text encoder makes"});
}

}  // namespace
}  // namespace pcpp
