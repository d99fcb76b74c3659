#include "pipeline/request.h"

#include <gtest/gtest.h>

#include <climits>
#include <cmath>
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "pipeline/references.h"
#include "support/errors.h"

namespace pcpp {
namespace {

const ModelInfo kModel{.default_width = 64, .default_height = 96};

GenerationRequest valid() {
  GenerationRequest request;
  request.prompts = {"a fox", "an apple"};
  return request;
}

Image grey(int width, int height) {
  return {width, height,
          std::vector<std::uint8_t>(static_cast<std::size_t>(3 * width * height), 128)};
}

// Rounded down to multiples of 8, where the request says nothing.
TEST(CheckRequest, TakesTheSizeOfTheFirstInitImage) {
  GenerationRequest request = valid();
  request.init_images = {grey(71, 40), grey(8, 8)};
  EXPECT_EQ(check_request(request, kModel).width, 64);
  EXPECT_EQ(check_request(request, kModel).height, 40);
  request.init_images[0] = grey(1, 15);
  EXPECT_EQ(check_request(request, kModel).width, 8);
  EXPECT_EQ(check_request(request, kModel).height, 8);
  request.init_images[0] = grey(71, 40);
  request.height = 120;
  EXPECT_EQ(kModel.picture_size(request).width, 64);
  EXPECT_EQ(kModel.picture_size(request).height, 120);
}

TEST(CheckParts, AreWhatReadsTextsAndDrawsPictures) {
  ModelInfo model = kModel;
  GenerationRequest request = valid();
  EXPECT_NO_THROW(check_parts(request, model));
  model.has_vae = false;
  testing::expect_error<ConfigError>([&] { check_parts(request, model); }, {"no VAE", "name one"});
  request.decode = false;
  EXPECT_NO_THROW(check_parts(request, model));
  request.init_images = {grey(64, 96)};
  EXPECT_THROW(check_parts(request, model), ConfigError);
  request.init_images.clear();
  model.text_encoders = 0;
  testing::expect_error<ConfigError>([&] { check_parts(request, model); },
                                     {"no text encoder", "prompt embeddings"});
}

// diffusers' int(min(steps * strength, steps)), with its rounding of the product.
TEST(CheckRequest, MakesTheLastStepsAsDiffusersCountsThem) {
  GenerationRequest request = valid();
  request.strength = 0.5;
  EXPECT_EQ(steps_made(request), 25);
  request.init_images = {grey(64, 96)};
  EXPECT_EQ(steps_made(request), 12);
  request.steps = 50;
  request.strength = 0.58;  // times 50 just below 29
  EXPECT_EQ(steps_made(request), 28);
  request.strength = 1;
  EXPECT_EQ(steps_made(request), 50);
  request.strength.reset();
  EXPECT_EQ(steps_made(request), 40);
  request.masks = {grey(64, 96)};
  EXPECT_EQ(steps_made(request), 50);
}

TEST(CheckRequest, AUNetThatIsToldTheGuidanceScaleHasOneBranch) {
  ModelInfo model = kModel;
  EXPECT_TRUE(check_request(valid(), model).guided);
  model.guidance_embedded = true;
  EXPECT_FALSE(check_request(valid(), model).guided);
  GenerationRequest split = valid();
  split.parallel.guidance = Guidance::split;
  testing::expect_error<ConfigError>([&] { model.check(split, 2); },
                                     {"no unconditional branch", "a U-Net that is told the scale"});
}

TEST(CheckRequest, AModelForInpaintingNeedsMasks) {
  ModelInfo model = kModel;
  model.inpainting = true;
  GenerationRequest request = valid();
  testing::expect_error<ConfigError>([&] { check_request(request, model); },
                                     {"for inpainting", "give an init image and a mask"});
  request.init_images = {grey(64, 96)};
  testing::expect_error<ConfigError>([&] { check_request(request, model); }, {"for inpainting"});
  request.masks = {grey(8, 8), grey(200, 1)};
  EXPECT_NO_THROW(check_request(request, model));
}

TEST(CheckRequest, FillsInTheModelsSize) {
  const RequestSizes sizes = check_request(valid(), kModel);
  EXPECT_EQ(sizes.width, 64);
  EXPECT_EQ(sizes.rows, 12);
  EXPECT_EQ(sizes.images, 2);
  EXPECT_TRUE(sizes.guided);
  EXPECT_FALSE(sizes.embedded);
}

TEST(CheckRequest, TakesTheWidestPictureThatThereCanBe) {
  GenerationRequest request = valid();
  request.width = kMostPixels;
  EXPECT_EQ(check_request(request, kModel).columns, kMostPixels / 8);
}

TEST(CheckRequest, GuidanceOfOneOrBelowRunsOneBranch) {
  GenerationRequest request = valid();
  request.guidance_scale = 1;
  EXPECT_FALSE(check_request(request, kModel).guided);
}

struct Refusal {
  std::string name;
  std::string text;  // what the message must hold
  std::function<void(GenerationRequest&)> spoil;
};

class RefusalTest : public ::testing::TestWithParam<Refusal> {};

TEST_P(RefusalTest, NamesTheValueAndTheRule) {
  GenerationRequest request = valid();
  GetParam().spoil(request);
  testing::expect_error<ConfigError>([&] { check_request(request, kModel); }, {GetParam().text});
}

INSTANTIATE_TEST_SUITE_P(
    Requests, RefusalTest,
    ::testing::Values(
        Refusal{"ragged_width", "width 100 is not a multiple of 8: use 96 or 104",
                [](auto& r) { r.width = 100; }},
        Refusal{"tiny_height", "height 4 is not a multiple of 8: use 8",
                [](auto& r) { r.height = 4; }},
        Refusal{"negative_height", "height -8", [](auto& r) { r.height = -8; }},
        Refusal{"huge_width", "width 16392 is outside", [](auto& r) { r.width = kMostPixels + 8; }},
        Refusal{"no_steps", "0 steps", [](auto& r) { r.steps = 0; }},
        Refusal{"nan_guidance", "the guidance scale is nan",
                [](auto& r) { r.guidance_scale = std::numeric_limits<double>::quiet_NaN(); }},
        Refusal{"guidance_beyond_float32", "the guidance scale is 1e+39: from -1000000 to 1000000",
                [](auto& r) { r.guidance_scale = 1e39; }},
        Refusal{"guidance_of_no_part",
                "guidance from 0.5 to 0.5 of the steps: it must begin before",
                [](auto& r) { r.guidance_start = r.guidance_end = 0.5; }},
        Refusal{"guidance_rescale", "a guidance_rescale of 1.5: it must be in [0, 1]",
                [](auto& r) { r.guidance_rescale = 1.5; }},
        Refusal{"weights", "a prompt's weight of 2000",
                [](auto& r) {
                  r.prompt_syntax = PromptSyntax::comfyui;
                  r.prompts[1] = "(fox:2000)";
                }},
        Refusal{"no_images", "0 images", [](auto& r) { r.images_per_prompt = 0; }},
        Refusal{"no_prompt", "no prompt", [](auto& r) { r.prompts.clear(); }},
        Refusal{"negatives", "3 negative prompts for 2 prompts",
                [](auto& r) {
                  r.negative_prompts = {"a", "b", "c"};
                }},
        Refusal{"encoding", "prompt 2 of 2 is not valid UTF-8",
                [](auto& r) { r.prompts[1] = "caf\xe9"; }},
        Refusal{"encoding_of_negatives", "negative prompt 1 of 1 is not valid UTF-8",
                [](auto& r) { r.negative_prompts = {"\xff"}; }},
        Refusal{"both", "prompts and prompt embeddings",
                [](auto& r) {
                  r.prompt_embeds["prompt_embeds"] = {{1, 1, 1}, {0}};
                }},
        Refusal{"misspelt_embeds", "have negative_promt_embeds, which is none of prompt_embeds",
                [](auto& r) {
                  r.prompts.clear();
                  r.prompt_embeds["prompt_embeds"] = {{1, 1, 1}, {0}};
                  r.prompt_embeds["negative_promt_embeds"] = {{1, 1, 1}, {0}};
                }},
        Refusal{"endless_embeds", "prompt_embeds has shape 1000000000000 x 0 x 768",
                [](auto& r) {
                  r.prompts.clear();
                  r.prompt_embeds["prompt_embeds"] = {{1000000000000, 0, 768}, {}};
                }},
        Refusal{"endless_images", "2 prompts of 2147483647 images each: at most 65536",
                [](auto& r) { r.images_per_prompt = INT_MAX; }},
        Refusal{"latents", "this request needs 2 x 4 x 12 x 8",
                [](auto& r) {
                  r.latents = FloatTensor{{1, 4, 12, 8}, {}};
                }},
        Refusal{"missing_latents", "latents has 767 values, fewer than its shape",
                [](auto& r) {
                  r.latents = FloatTensor{{2, 4, 12, 8}, std::vector<float>(767)};
                }},
        Refusal{"nan_latents", "latents holds nan at place 5",
                [](auto& r) {
                  r.latents = FloatTensor{{2, 4, 12, 8}, std::vector<float>(768)};
                  r.latents->values[5] = NAN;
                }},
        Refusal{"init_images", "3 init images for 2 prompts: give one, or one for each",
                [](auto& r) { r.init_images.resize(3, grey(64, 96)); }},
        Refusal{"endless_init_image", "an init image of 1x16385 pixels: each side must lie in",
                [](auto& r) {
                  r.init_images = {{1, kMostPixels + 1, {}}};
                }},
        Refusal{"init_image_beyond_64_bits", "2147483647x2147483647 pixels: each side",
                [](auto& r) {
                  r.init_images = {{INT_MAX, INT_MAX, {}}};
                }},
        Refusal{"no_pixels", "an init image of 0x96 pixels: each side must lie in",
                [](auto& r) {
                  r.init_images = {{0, 96, {}}};
                }},
        Refusal{"missing_pixels", "an init image of 64x96 pixels has 18431 bytes: 3 for each",
                [](auto& r) {
                  r.init_images = {grey(64, 96)};
                  r.init_images[0].rgb.pop_back();
                }},
        Refusal{"masks", "3 masks for 2 prompts: give one, or one for each",
                [](auto& r) {
                  r.init_images = {grey(64, 96)};
                  r.masks.resize(3, grey(64, 96));
                }},
        Refusal{"masks_of_nothing", "a mask and no init image: give what it keeps",
                [](auto& r) { r.masks = {grey(64, 96)}; }},
        Refusal{"missing_pixels_of_a_mask", "a mask of 64x96 pixels has 18431 bytes",
                [](auto& r) {
                  r.init_images = r.masks = {grey(64, 96)};
                  r.masks[0].rgb.pop_back();
                }},
        Refusal{"no_strength", "a strength of 0",
                [](auto& r) {
                  r.init_images = {grey(64, 96)};
                  r.strength = 0;
                }},
        Refusal{"much_strength", "a strength of 1.01",
                [](auto& r) {
                  r.init_images = {grey(64, 96)};
                  r.strength = 1.01;
                }},
        Refusal{"nan_strength", "a strength of nan",
                [](auto& r) {
                  r.init_images = {grey(64, 96)};
                  r.strength = std::numeric_limits<double>::quiet_NaN();
                }},
        Refusal{"no_step_left", "25 steps at a strength of 0.03 leave none to make",
                [](auto& r) {
                  r.init_images = {grey(64, 96)};
                  r.strength = 0.03;
                }},
        Refusal{"timeout", "0 ms", [](auto& r) { r.peer_timeout = std::chrono::milliseconds(0); }}),
    [](const auto& suite) { return suite.param.name; });

// What other layers judge reaches the caller of generate() too, before any step.
struct Rejected {
  std::string name;
  int ranks;
  std::string text;
  std::function<void(GenerationRequest&)> spoil;
};

class RejectedTest : public ::testing::TestWithParam<Rejected> {};

TEST_P(RejectedTest, BeforeAStepIsMade) {
  GenerationRequest request = patch_request("inputs_32x12.safetensors");
  request.on_step = [](const StepProgress&) { FAIL() << "a step was made"; };
  GetParam().spoil(request);
  testing::expect_error<ConfigError>(
      [&] { cached_pipeline("patch", GetParam().ranks).generate(request); }, {GetParam().text});
}

INSTANTIATE_TEST_SUITE_P(
    Requests, RejectedTest,
    ::testing::Values(
        Rejected{"more_ranks_than_rows", 9, "9 patches are more than the 8", [](auto&) {}},
        Rejected{"partial", 2, "partial 1.5 is outside [0, 1]",
                 [](auto& r) { r.parallel.partial = 1.5; }},
        Rejected{"no_synchronous_step", 2, "0 synchronous steps",
                 [](auto& r) { r.parallel.sync_steps = 0; }},
        Rejected{"odd_split", 3, "even number of ranks",
                 [](auto& r) { r.parallel.guidance = Guidance::split; }},
        Rejected{"split_without_guidance", 2, "guidance cannot be split",
                 [](auto& r) {
                   r.parallel.guidance = Guidance::split;
                   r.guidance_scale = 1;
                 }},
        Rejected{"steps", 2, "5000", [](auto& r) { r.steps = 5000; }},
        Rejected{"nan_latents", 2, "latents holds nan at place 7",
                 [](auto& r) { r.latents->values[7] = std::numeric_limits<float>::quiet_NaN(); }},
        Rejected{"unread_pooled", 2, "pooled_prompt_embeds, which this model's U-Net does not read",
                 [](auto& r) {
                   r.prompt_embeds["pooled_prompt_embeds"] = {{1, 16}, {}};
                 }},
        Rejected{"missing_negative", 2, "lack negative_prompt_embeds",
                 [](auto& r) { r.prompt_embeds.erase("negative_prompt_embeds"); }},
        Rejected{"embeds_without_end", 2, "fewer than its shape",
                 [](auto& r) {
                   r.latents.reset();
                   r.prompt_embeds["prompt_embeds"] = {{50000, 77, 16}, std::vector<float>(16)};
                 }},
        Rejected{"embeds_past_counting", 2, "fewer than its shape",
                 [](auto& r) {
                   r.latents.reset();
                   r.prompt_embeds["prompt_embeds"] = {{2, std::int64_t{1} << 62, 4}, {}};
                 }},
        Rejected{"fewer_negative_tokens", 2,
                 "negative_prompt_embeds has shape 1 x 5 x 16 and prompt_embeds 1 x 7 x 16",
                 [](auto& r) {
                   r.prompt_embeds["negative_prompt_embeds"] = {{1, 5, 16}, std::vector<float>(80)};
                 }},
        Rejected{"narrow_embeds", 2, "prompt_embeds has shape 1 x 7 x 4",
                 [](auto& r) {
                   r.prompt_embeds["prompt_embeds"] = {{1, 7, 4}, std::vector<float>(28)};
                 }}),
    [](const auto& suite) { return suite.param.name; });

TEST(GivenEmbeddings, OfPooledTextsAreOneVectorForEachPrompt) {
  GenerationRequest request;
  request.width = request.height = 64;
  request.guidance_scale = 1;
  request.decode = false;
  request.prompt_embeds["prompt_embeds"] = {{2, 5, 40}, std::vector<float>(2 * 5 * 40)};
  request.prompt_embeds["pooled_prompt_embeds"] = {{1, 20}, std::vector<float>(20)};
  testing::expect_error<ConfigError>(
      [&] { cached_pipeline("models/sdxl", 1).generate(request); },
      {"prompt_embeds is for 2 prompts and pooled_prompt_embeds for 1"});
  request.prompt_embeds["pooled_prompt_embeds"] = {{2, 1, 20}, std::vector<float>(2 * 20)};
  testing::expect_error<ConfigError>(
      [&] { cached_pipeline("models/sdxl", 1).generate(request); },
      {"pooled_prompt_embeds has shape 2 x 1 x 20: 2 dimensions are needed, the last of 20"});
}

}  // namespace
}  // namespace pcpp
