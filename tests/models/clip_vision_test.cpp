#include "models/clip_vision.h"

#include <ATen/ops/cat.h>
#include <ATen/ops/zeros.h>
#include <c10/core/InferenceMode.h>
#include <gtest/gtest.h>

#include <map>
#include <nlohmann/json.hpp>
#include <stop_token>
#include <string>
#include <utility>
#include <vector>

#include "models/tiny_models.h"
#include "pcpp/error.h"
#include "support/errors.h"
#include "support/tensors.h"

namespace pcpp {
namespace {

constexpr double kTolerance = 2e-5;

// A tiny image encoder, to be changed before it is built.
struct EncoderFiles {
  explicit EncoderFiles(const std::string& name = "vision")
      : component(ip_adapter_folder() / name, std::nullopt) {}

  Component component;
  Weights weights = component.weights();
  nlohmann::json config = component.config_object("config.json");
  std::map<std::string, TensorView> tensors = weights.tensors();

  ClipVision build(at::ScalarType dtype = at::kFloat) const {
    return {read_clip_vision_config(ConfigReader(config, "config.json")),
            WeightScope(tensors, "the file", dtype)};
  }
};

// All pixels of a file that tests/reference/ip_adapter_make.py wrote.
at::Tensor pixels_of(const std::map<std::string, at::Tensor>& references) {
  std::vector<at::Tensor> pixels;
  for (const auto& [name, tensor] : references) {
    if (name.starts_with("pixels_")) pixels.push_back(tensor);
  }
  return at::cat(pixels);
}

TEST(ClipVision, EqualsTransformers) {
  const c10::InferenceMode inference;
  for (const std::string name : {"vision", "vision_2"}) {
    SCOPED_TRACE(name);
    const auto references = load_tensors_of(ip_adapter_folder() / (name + "_seen.safetensors"));
    const at::Tensor pixels = pixels_of(references);
    ASSERT_EQ(pixels.size(0), 3);
    const EncoderFiles files(name);
    const ClipVision encoder = files.build();
    EXPECT_LE(relative_error(encoder.embed(pixels), references.at("image_embeds")), kTolerance);
    EXPECT_LE(relative_error(encoder.penultimate(pixels), references.at("penultimate")),
              kTolerance);
    EXPECT_LE(
        relative_error(files.build(at::kBFloat16).embed(pixels), references.at("image_embeds")),
        3e-2);
  }
}

TEST(ClipVision, TakesNamesWithAndWithoutTheModelsPrefix) {
  const c10::InferenceMode inference;
  const std::string prefix = "vision_model.";
  EncoderFiles files;
  const at::Tensor pixels = random_tensor(3, {1, 3, 21, 21});
  const at::Tensor expected = files.build().embed(pixels);
  std::map<std::string, TensorView> bare;
  for (const auto& [name, tensor] : files.tensors) {
    bare.emplace(name.starts_with(prefix) ? name.substr(prefix.size()) : name, tensor);
  }
  ASSERT_TRUE(bare.contains("embeddings.class_embedding"));
  files.tensors = std::exchange(bare, {});
  files.tensors["embeddings.position_ids"] = files.tensors.begin()->second;
  EXPECT_EQ(relative_error(files.build().embed(pixels), expected), 0);
}

TEST(ClipVision, EndsBetweenLayersOnceAStopIsRequested) {
  const c10::InferenceMode inference;
  const EncoderFiles files;
  std::stop_source source;
  source.request_stop();
  const at::Tensor pixels = at::zeros({1, 3, 21, 21});
  EXPECT_THROW(files.build().embed(pixels, source.get_token()), Cancelled);
  EXPECT_THROW(files.build().penultimate(pixels, source.get_token()), Cancelled);
}

TEST(ClipVision, RefusesOptionsByName) {
  for (const auto& [key, value] :
       std::vector<std::pair<std::string, nlohmann::json>>{{"hidden_act", "gelu_new"},
                                                           {"model_type", "clip"},
                                                           {"architectures", {"CLIPVisionModel"}},
                                                           {"num_attention_heads", 5},
                                                           {"num_attention_heads", 0},
                                                           {"num_hidden_layers", 0},
                                                           {"num_hidden_layers", 257},
                                                           {"hidden_size", 1 << 20},
                                                           {"intermediate_size", -1},
                                                           {"projection_dim", 0},
                                                           {"image_size", 1 << 20},
                                                           {"image_size", 6},
                                                           {"patch_size", 0},
                                                           {"layer_norm_eps", 0.0},
                                                           {"num_channels", 1},
                                                           {"rope_theta", 10000}}) {
    EncoderFiles files;
    files.config[key] = value;
    SCOPED_TRACE(value.dump());
    const bool is_odd_split = value == 5;
    const bool is_below_patch = value == 6;
    testing::expect_error<CheckpointError>([&] { files.build(); }, {is_odd_split     ? "hidden_size"
                                                                    : is_below_patch ? "patch_size"
                                                                                     : key});
  }
  EncoderFiles fine;
  fine.config["image_size"] = 1024;
  fine.config["patch_size"] = 1;
  testing::expect_error<CheckpointError>([&] { fine.build(); }, {"patches a side"});
}

TEST(ClipVision, NamesWeightsThatDoNotFit) {
  EncoderFiles files;
  files.config["image_size"] = 35;
  testing::expect_error<CheckpointError>([&] { files.build(); }, {"position_embedding.weight"});
  files = EncoderFiles();
  files.tensors.erase("visual_projection.weight");
  testing::expect_error<CheckpointError>([&] { files.build(); }, {"visual_projection.weight"});
  files = EncoderFiles();
  files.config["num_hidden_layers"] = 2;
  testing::expect_error<CheckpointError>([&] { files.build(); }, {"encoder.layers.2"});
}

}  // namespace
}  // namespace pcpp
