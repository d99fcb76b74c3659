// LoRAs that do not belong to the model, or cannot be added. That pictures with them are diffusers'
// is in diffusers_test.cpp.

#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <vector>

#include "io/files.h"
#include "pipeline/references.h"
#include "support/errors.h"

namespace pcpp {
namespace {

PipelineOptions with_lora(const std::string& name, double scale = 1) {
  PipelineOptions options;
  options.loras = {{test_data(name), scale}};
  return options;
}

TEST(Lora, OfAnotherModelIsRefusedAsItIsLoaded) {
  const auto load = [](const std::string& model, const std::string& lora) {
    Pipeline(test_data("models/" + model), World(1, 1), with_lora(lora));
  };
  testing::expect_error<CheckpointError>(
      [&] { load("sd15", "lora/sdxl.safetensors"); },
      {"lora/sdxl.safetensors", "text_encoder_2", "another model"});
  testing::expect_error<CheckpointError>([&] { load("sd15", "lora/sd21.safetensors"); },
                                         {"lora/sd21.safetensors", "another model"});
  testing::expect_error<CheckpointError>([&] { load("sd15", "lora/index.json"); },
                                         {"lora/index.json"});
  testing::expect_error<CheckpointError>([&] { load("sd15", "lora/none.safetensors"); },
                                         {"lora/none.safetensors", "No such file"});
}

TEST(Lora, OfAnotherTextEncoderIsRefusedWithTheUNet) {
  const testing::TemporaryFolder folder;
  const auto path = folder.path() / "style.safetensors";
  const std::string module = "text_encoder.encoder.layers.9.mlp.fc1";
  save_tensors(path, {{module + ".lora_A.weight", FloatTensor{{1, 4}, {1, 2, 3, 4}}},
                      {module + ".lora_B.weight", FloatTensor{{4, 1}, {1, 2, 3, 4}}}});
  PipelineOptions options;
  options.loras = {{path}};
  testing::expect_error<CheckpointError>(
      [&] { Pipeline(test_data("models/sd15"), World(1, 1), options); },
      {"style.safetensors", "layers_9_mlp_fc1"});
}

// Its levels have one layer each.
TEST(Lora, OfOriginalNamesIsOfTheUNetsOwnBlocks) {
  const testing::TemporaryFolder folder;
  GenerationRequest request = two_tall_pictures();
  request.decode = false;
  const auto draw = [&](const std::string& module) {
    const auto path = folder.path() / (module + ".safetensors");
    const std::vector<float> values = {1, 2, 3, 4, 5, 6, 7, 8};
    save_tensors(path, {{module + ".lora_down.weight", FloatTensor{{1, 8}, values}},
                        {module + ".lora_up.weight", FloatTensor{{8, 1}, values}}});
    PipelineOptions options;
    options.loras = {{path}};
    return Pipeline(test_data("models/sd15"), World(1, 1), options)
        .generate(request)
        .latents.values;
  };
  EXPECT_EQ(draw("lora_unet_input_blocks_3_1_proj_in"),
            draw("lora_unet_down_blocks_1_attentions_0_proj_in"));
}

TEST(Lora, IsAddedAFiniteNumberOfTimes) {
  for (const double scale : {INFINITY, -INFINITY, NAN}) {
    testing::expect_error<ConfigError>(
        [&] {
          Pipeline(test_data("models/sd15"), World(1, 1),
                   with_lora("lora/sd15.safetensors", scale));
        },
        {"lora/sd15.safetensors", "finite scale"});
  }
}

TEST(Lora, OfScaleZeroChangesNoBit) {
  GenerationRequest request = two_tall_pictures();
  request.decode = false;
  Pipeline pipeline(test_data("models/sd15"), World(1, 1), with_lora("lora/sd15.safetensors", 0));
  EXPECT_EQ(pipeline.generate(request).latents.values,
            cached_pipeline("models/sd15", 1).generate(request).latents.values);
}

}  // namespace
}  // namespace pcpp
