// Pictures that image prompts are part of. That they are diffusers' is in diffusers_test.cpp.

#include "pipeline/image_prompts.h"

#include <c10/core/InferenceMode.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <filesystem>
#include <fstream>
#include <stop_token>
#include <string>
#include <vector>

#include "io/files.h"
#include "pipeline/references.h"
#include "pipeline/tensors.h"
#include "support/errors.h"
#include "support/tensors.h"

namespace pcpp {
namespace {

IpAdapter adapter(const std::string& name) {
  return {test_data("ip_adapter/" + name + ".safetensors"),
          test_data(name.starts_with("sdxl") ? "ip_adapter/vision_2" : "ip_adapter/vision")};
}

PipelineOptions with_adapters(const std::vector<std::string>& names) {
  PipelineOptions options;
  for (const std::string& name : names) options.ip_adapters.push_back(adapter(name));
  return options;
}

Pipeline adapted(const std::string& family, int ranks, const std::vector<std::string>& names,
                 DataType dtype = DataType::float32) {
  PipelineOptions options = with_adapters(names);
  options.dtype = dtype;
  return {test_data("models/" + family), World(ranks, 1), options};
}

// All steps of which are synchronous.
GenerationRequest request() {
  GenerationRequest request = two_tall_pictures();
  request.parallel.sync_steps = request.steps;
  request.image_prompts = {{{striped(40, 30, 3)}}};
  request.decode = false;
  return request;
}

GenerationRequest request_of_two() {
  GenerationRequest asked = request();
  asked.image_prompts.push_back({{striped(50, 90, 9)}, 0.6});
  return asked;
}

// Of bytes, which are as Pillow makes them but for its rounding between its two passes.
TEST(ImagePrompts, AreBroughtToTheEncodersSizeAsTransformersDoes) {
  const c10::InferenceMode inference;
  constexpr double kByte = 1 / 255. / 0.26;  // after the division by the deviation
  for (const auto& [encoder, side] : {std::pair{"vision", 21}, {"vision_2", 22}}) {
    const TensorMap references =
        load_tensors(test_data("ip_adapter/" + std::string(encoder) + "_seen.safetensors"));
    for (int i = 0; i < 3; ++i) {
      const std::string number = std::to_string(i);
      const Image image = images_of(references.at("image_" + number)).at(0);
      const FloatTensor& expected = references.at("pixels_" + number);
      const FloatTensor pixels = to_host(to_clip_pixels(image, side));
      ASSERT_EQ(pixels.shape, expected.shape);
      std::size_t equal = 0;
      for (std::size_t k = 0; k < pixels.values.size(); ++k) {
        ASSERT_NEAR(pixels.values[k], expected.values[k], 1.1 * kByte) << encoder << i;
        equal += std::abs(pixels.values[k] - expected.values[k]) < kByte / 2 ? 1 : 0;
      }
      EXPECT_GE(equal, pixels.values.size() / 2) << encoder << i;
    }
  }
}

// Of a picture far longer than wide no more than its middle takes memory.
TEST(ImagePrompts, OfAnyAspectRatioAreReadInTheirMiddle) {
  const c10::InferenceMode inference;
  const Image wide = striped(600, 10, 3);
  const Image tall = striped(3, kMostPixels, 3);
  const Image thin = striped(kMostPixels, 1, 3);
  for (const Image& image : {wide, tall, thin}) {
    const at::Tensor pixels = to_clip_pixels(image, 28);
    EXPECT_EQ(pixels.sizes(), (std::vector<std::int64_t>{1, 3, 28, 28}));
    Image changed = image;
    const std::ptrdiff_t row = std::ptrdiff_t{3} * image.width;
    const std::ptrdiff_t pixel = image.height / 2 * row + image.width / 2 * 3;
    changed.rgb.at(static_cast<std::size_t>(pixel)) ^= 128;
    EXPECT_GT(relative_error(to_clip_pixels(changed, 28), pixels), 1e-4);
    changed = image;
    changed.rgb.front() ^= 128;
    changed.rgb.back() ^= 128;
    EXPECT_EQ(relative_error(to_clip_pixels(changed, 28), pixels), 0);
  }
  // What lies beyond its middle takes no part where the whole is small enough to be resized, too.
  Image square{30, 30, {}};
  for (int row = 0; row < 30; ++row) {
    for (int byte = 0; byte < 90; ++byte) {
      square.rgb.push_back(
          striped(120, 30, 3).rgb[static_cast<std::size_t>(360 * row + 135 + byte)]);
    }
  }
  const at::Tensor whole = to_clip_pixels(square, 30);
  EXPECT_LE(relative_error(to_clip_pixels(striped(120, 30, 3), 30), whole), 1e-6);
  std::stop_source source;
  source.request_stop();
  EXPECT_THROW(to_clip_pixels(wide, 28, source.get_token()), Cancelled);
}

TEST(ImagePrompts, AreReadInBandsAsOnOneDevice) {
  for (const std::string family : {"sd15", "sdxl"}) {
    SCOPED_TRACE(family);
    const GenerationRequest asked = request_of_two();
    const std::vector<std::string> names = {family + "_plain", family + "_plus"};
    expect_bands_as_one_device([&](int ranks) { return adapted(family, ranks, names); }, asked,
                               1e-5);
  }
}

// Ranks need nothing of their neighbours for them.
TEST(ImagePrompts, SendNothing) {
  GenerationRequest asked = request();
  asked.parallel.sync_steps = 1;
  const GenerationResult result = adapted("sd15", 2, {"sd15_plus"}).generate(asked);
  asked.image_prompts.clear();
  const GenerationResult plain = cached_pipeline("models/sd15", 2).generate(asked);
  for (std::size_t step = 0; step < result.ranks[0].steps.size(); ++step) {
    EXPECT_EQ(result.ranks[0].steps[step].sent, plain.ranks[0].steps[step].sent) << step;
  }
  EXPECT_EQ(result.ranks[0].stale_bytes, plain.ranks[0].stale_bytes);
  EXPECT_GE(relative_distance(result.latents, plain.latents), 0.05);
  EXPECT_GT(result.times.image_prompt_seconds, 0);
  EXPECT_EQ(plain.times.image_prompt_seconds, 0);
}

TEST(ImagePrompts, OfScaleZeroDrawThePlainModelsPicture) {
  GenerationRequest asked = request();
  Pipeline pipeline = adapted("sd15", 1, {"sd15_plain"});
  asked.image_prompts[0].scale = 0;
  const FloatTensor drawn = pipeline.generate(asked).latents;
  asked.image_prompts.clear();
  EXPECT_EQ(cached_pipeline("models/sd15", 1).generate(asked).latents.values, drawn.values);
}

// Its pictures, the unconditional branch's too: 2 prompts of 2 pictures, of which the second
// prompt has another image.
TEST(ImagePrompts, AreOneForAllPromptsOrOneForEach) {
  GenerationRequest asked = request();
  asked.images_per_prompt = 2;
  Pipeline pipeline = adapted("sd15", 1, {"sd15_plus"});
  const FloatTensor one = pipeline.generate(asked).latents;
  asked.image_prompts[0].images.push_back(asked.image_prompts[0].images[0]);
  EXPECT_EQ(pipeline.generate(asked).latents.values, one.values);
  asked.image_prompts[0].images[1] = striped(40, 30, 90);
  const FloatTensor other = pipeline.generate(asked).latents;
  const std::size_t quarter = one.values.size() / 4;
  for (std::size_t picture = 0; picture < 4; ++picture) {
    const auto begin = static_cast<std::ptrdiff_t>(picture * quarter);
    const auto end = begin + static_cast<std::ptrdiff_t>(quarter);
    EXPECT_EQ(std::equal(one.values.begin() + begin, one.values.begin() + end,
                         other.values.begin() + begin),
              picture < 2)
        << picture;
  }
}

// Steps ahead of guidance and after it read the conditional branch's tokens alone.
TEST(ImagePrompts, AreReadInAllPhasesOfGuidance) {
  GenerationRequest asked = request();
  asked.steps = asked.parallel.sync_steps = 6;
  asked.keep_steps = true;
  asked.guidance_start = 0.3;
  asked.guidance_end = 0.7;
  const std::vector<std::string> names = {"sd15_plus"};
  const GenerationResult one = adapted("sd15", 1, names).generate(asked);
  asked.parallel.guidance = Guidance::split;
  EXPECT_LE(relative_distance(adapted("sd15", 2, names).generate(asked).latents, one.latents),
            2e-5);
  asked.parallel.guidance = Guidance::batched;
  asked.guidance_scale = 1;
  const GenerationResult unguided = adapted("sd15", 1, names).generate(asked);
  EXPECT_LE(relative_distance(one.step_latents[1], unguided.step_latents[1]), 1e-5);
  EXPECT_GE(relative_distance(one.step_latents[3], unguided.step_latents[3]), 0.05);
}

TEST(ImagePrompts, AreReadBesideEmbeddings) {
  GenerationRequest asked = request();
  Pipeline pipeline = adapted("sd15", 1, {"sd15_plain"});
  asked.prompt_embeds = {{"prompt_embeds", {{2, 5, 16}, std::vector<float>(160, 0.1F)}},
                         {"negative_prompt_embeds", {{2, 5, 16}, std::vector<float>(160, 0.2F)}}};
  asked.prompts.clear();
  const FloatTensor drawn = pipeline.generate(asked).latents;
  asked.image_prompts[0].scale = 0;
  EXPECT_GE(relative_distance(pipeline.generate(asked).latents, drawn), 0.05);
}

TEST(ImagePrompts, AreReadInBfloat16) {
  const GenerationRequest asked = request_of_two();
  const std::vector<std::string> names = {"sd15_plus", "sd15_plain"};
  const FloatTensor exact = adapted("sd15", 1, names).generate(asked).latents;
  EXPECT_LE(relative_distance(adapted("sd15", 2, names, DataType::bfloat16).generate(asked).latents,
                              exact),
            0.1);
}

TEST(ImagePrompts, EndWithARequestThatIsStopped) {
  GenerationRequest asked = request();
  Pipeline pipeline = adapted("sd15", 1, {"sd15_plus"});
  const FloatTensor drawn = pipeline.generate(asked).latents;
  std::stop_source source;
  asked.stop = source.get_token();
  source.request_stop();
  EXPECT_THROW(pipeline.generate(asked), Cancelled);
  asked.stop = {};
  EXPECT_EQ(pipeline.generate(asked).latents.values, drawn.values);
}

TEST(ImagePrompts, ThatCannotBeMetAreRefusedByName) {
  const ModelInfo model = read_model_info(test_data("models/sd15"), with_adapters({"sd15_plus"}));
  EXPECT_EQ(model.ip_adapters, 1);
  model.check(request(), 1);
  const auto refuses = [&](const std::string& part, const auto& change) {
    expect_refused(model, request(), part, change);
  };
  refuses("0 image prompts for 1 IP-Adapters", [](auto& r) { r.image_prompts.clear(); });
  refuses("2 image prompts for 1 IP-Adapters", [](auto& r) { r.image_prompts.resize(2); });
  refuses("no image", [](auto& r) { r.image_prompts[0].images.clear(); });
  refuses("3 images of an image prompt for 2 prompts",
          [](auto& r) { r.image_prompts[0].images.resize(3, striped(8, 8, 1)); });
  refuses("an image prompt's image of 40x30 pixels has 1 bytes",
          [](auto& r) { r.image_prompts[0].images[0].rgb = {1}; });
  refuses("an image prompt's image of 0x30 pixels",
          [](auto& r) { r.image_prompts[0].images[0].width = 0; });
  refuses("an image prompt's scale is inf", [](auto& r) { r.image_prompts[0].scale = INFINITY; });
  refuses("an image prompt's scale is nan", [](auto& r) { r.image_prompts[0].scale = NAN; });
  testing::expect_error<ConfigError>([] { cached_pipeline("models/sd15", 1).generate(request()); },
                                     {"1 image prompts for 0 IP-Adapters"});
}

class ForeignAdapters : public ::testing::Test {
 protected:
  static void expect_refused(const IpAdapter& given, const std::string& part,
                             const std::string& family = "sd15") {
    PipelineOptions options;
    options.ip_adapters = {given};
    testing::expect_error<CheckpointError>(
        [&] { read_model_info(test_data("models/" + family), options); }, {part});
    testing::expect_error<CheckpointError>(
        [&] { Pipeline(test_data("models/" + family), World(1, 1), options); }, {part});
  }
  // A copy of the tiny encoder.
  std::filesystem::path encoder() const {
    const std::filesystem::path copy = place_.path() / "vision";
    if (!std::filesystem::exists(copy)) std::filesystem::copy(adapter("sd15").image_encoder, copy);
    return copy;
  }

  testing::TemporaryFolder place_;
};

TEST_F(ForeignAdapters, AreRefusedBeforeTheyAreLoaded) {
  IpAdapter given = adapter("sd15_plain");
  expect_refused(given,
                 "ip_adapter.1.to_k_ip.weight has shape [8, 16], where the U-Net needs [8, 40]",
                 "sdxl");
  given.image_encoder = test_data("ip_adapter/vision_2");
  expect_refused(given, "reads 12 values and the image encoder");
  expect_refused(given, "vision_2 makes 20: name the one that it was made with");
  given.image_encoder = test_data("models/sd15/text_encoder");
  expect_refused(given, "model_type");
  given.image_encoder = test_data("nowhere");
  expect_refused(given, "config.json is missing");
  given = adapter("sd15_plus");
  given.image_encoder = test_data("ip_adapter/vision_2");
  expect_refused(given, "reads 16 values and the image encoder");
  given.file = test_data("control/sd15/diffusion_pytorch_model.safetensors");
  expect_refused(given, "it holds no IP-Adapter");
  given.file = test_data("nowhere.safetensors");
  expect_refused(given, "nowhere.safetensors");
  for (IpAdapter unnamed : {IpAdapter{{}, "vision"}, IpAdapter{"adapter.safetensors", {}}}) {
    PipelineOptions options;
    options.ip_adapters = {unnamed};
    testing::expect_error<ConfigError>([&] { read_model_info(test_data("models/sd15"), options); },
                                       {"name a file and"});
  }
}

TEST_F(ForeignAdapters, OfOtherSizesAreRefusedByTensor) {
  const TensorMap weights = load_tensors(adapter("sd15_plain").file);
  const auto expect_damaged = [&](const std::string& name, const FloatTensor& tensor,
                                  const std::string& part) {
    TensorMap damaged = weights;
    damaged[name] = tensor;
    IpAdapter given = adapter("sd15_plain");
    given.file = place_.path() / "damaged.safetensors";
    save_tensors(given.file, damaged);
    expect_refused(given, part);
  };
  expect_damaged("image_proj.proj.bias", {{3}, {1, 2, 3}}, "of another kind or damaged");
  expect_damaged("image_proj.norm.weight", {{8}, std::vector<float>(8)},
                 "makes tokens of 8 values, where the U-Net reads 16");
  expect_damaged("image_proj.further.weight", {{1}, {0}}, "image_proj.further.weight");
  expect_damaged("ip_adapter.1.to_k_ip.weight", {{1}, {0}}, "[1], where the U-Net needs [8, 16]");
}

// What is no number, and an encoder's weights, are looked at when they are loaded.
TEST_F(ForeignAdapters, AreRefusedWhereTheyAreLoaded) {
  TensorMap weights = load_tensors(adapter("sd15_plain").file);
  weights.at("ip_adapter.1.to_k_ip.weight").values[5] = NAN;
  PipelineOptions options = with_adapters({"sd15_plain"});
  options.ip_adapters[0].file = place_.path() / "nan.safetensors";
  save_tensors(options.ip_adapters[0].file, weights);
  testing::expect_error<CheckpointError>(
      [&] { Pipeline(test_data("models/sd15"), World(1, 1), options); }, {"nan.safetensors"});
  options = with_adapters({"sd15_plain"});
  options.ip_adapters[0].image_encoder = encoder();
  Pipeline pipeline(test_data("models/sd15"), World(1, 1), options);
  const std::filesystem::path file = encoder() / "model.safetensors";
  const TensorMap whole = load_tensors(file);
  TensorMap damaged = whole;
  damaged.erase("visual_projection.weight");
  std::filesystem::remove(file);
  save_tensors(file, damaged);
  testing::expect_error<CheckpointError>([&] { pipeline.generate(request()); },
                                         {"visual_projection.weight"});
  save_tensors(file, whole);
  EXPECT_EQ(pipeline.generate(request()).latents.values,
            adapted("sd15", 1, {"sd15_plain"}).generate(request()).latents.values);
}

TEST(ImagePrompts, ArePassedOverByPlans) {
  GenerationRequest asked = request();
  asked.automatic = true;
  EXPECT_TRUE(adapted("sd15", 2, {"sd15_plain"}).generate(asked).chosen.has_value());
}

}  // namespace
}  // namespace pcpp
