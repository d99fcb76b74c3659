#include "models/image_projection.h"

#include <c10/core/InferenceMode.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <map>
#include <stop_token>
#include <string>
#include <vector>

#include "io/ip_adapter_file.h"
#include "models/tiny_models.h"
#include "pcpp/error.h"
#include "support/errors.h"
#include "support/tensors.h"

namespace pcpp {
namespace {

constexpr double kTolerance = 2e-5;
constexpr const char* kSource = "adapter.safetensors";

using Tensors = std::map<std::string, TensorView>;

// What makes tokens in a tiny IP-Adapter, to be changed before it is built.
struct ProjectionFile {
  explicit ProjectionFile(const std::string& adapter)
      : file(SafetensorsFile::open(ip_adapter_folder() / (adapter + ".safetensors"))) {}

  SafetensorsFile file;
  Tensors tensors = read_ip_adapter_file(file.tensors(), kSource).projection;

  ImageProjection build(at::ScalarType dtype = at::kFloat) const {
    return {image_projection_config_of(tensors, kSource),
            WeightScope(tensors, kSource, dtype).scope("image_proj")};
  }
};

TEST(ImageProjection, EqualsDiffusers) {
  const c10::InferenceMode inference;
  const nlohmann::json adapters = read_json_file(ip_adapter_folder() / "index.json").at("adapters");
  ASSERT_EQ(adapters.size(), 4U);
  for (const auto& [name, adapter] : adapters.items()) {
    SCOPED_TRACE(name);
    const auto references = load_tensors_of(
        ip_adapter_folder() / (adapter.at("encoder").get<std::string>() + "_seen.safetensors"));
    const ProjectionFile file(name);
    const bool resamples = image_projection_config_of(file.tensors, kSource).resampler.has_value();
    EXPECT_EQ(resamples, name.ends_with("plus"));
    const at::Tensor& seen = references.at(resamples ? "penultimate" : "image_embeds");
    const at::Tensor& tokens = references.at(name + ".tokens");
    EXPECT_LE(relative_error(file.build()(seen), tokens), kTolerance);
    EXPECT_LE(relative_error(file.build(at::kBFloat16)(seen.to(at::kBFloat16)), tokens), 5e-2);
  }
}

TEST(ImageProjection, EndsBetweenLayersOnceAStopIsRequested) {
  const c10::InferenceMode inference;
  const auto references = load_tensors_of(ip_adapter_folder() / "vision_seen.safetensors");
  std::stop_source source;
  source.request_stop();
  EXPECT_THROW(
      ProjectionFile("sd15_plus").build()(references.at("penultimate"), source.get_token()),
      Cancelled);
}

TEST(ImageProjection, NamesTensorsThatDoNotFit) {
  const auto expect_refused = [](const std::string& adapter, const std::string& tensor,
                                 const std::vector<std::int64_t>& shape, const std::string& part) {
    SCOPED_TRACE(tensor + to_string(shape));
    ProjectionFile file(adapter);
    TensorView& view = file.tensors["image_proj." + tensor];
    if (shape.empty()) {
      file.tensors.erase("image_proj." + tensor);
    } else {
      view.shape = shape;  // its bytes are not looked at before it is refused
    }
    testing::expect_error<CheckpointError>([&] { file.build(); }, {kSource, part});
  };
  expect_refused("sd15_plain", "norm.weight", {}, "image_proj.norm.weight is missing");
  expect_refused("sd15_plain", "norm.weight", {4, 4}, "image_proj.norm.weight has shape [4, 4]");
  expect_refused("sd15_plain", "norm.weight", {0}, "none of them 0");
  expect_refused("sd15_plain", "norm.weight", {15}, "a multiple of 15");
  expect_refused("sd15_plain", "proj.bias", {63}, "image_proj.proj.bias has shape [63]");
  expect_refused("sd15_plain", "further.weight", {1}, "image_proj.further.weight");
  expect_refused("sd15_plain", "proj.weight", {16 * 1025, 12}, "makes 1025 tokens of a picture");
  expect_refused("sd15_plus", "latents", {1, 1025, 8}, "makes 1025 tokens of a picture");
  expect_refused("sd15_plus", "latents", {1, 6}, "image_proj.latents has shape [1, 6]");
  expect_refused("sd15_plus", "latents", {2, 3, 8}, "image_proj.latents has shape [2, 3, 8]");
  expect_refused("sd15_plus", "layers.0.0.to_q.weight", {63, 8}, "a multiple of 64");
  expect_refused("sd15_plus", "layers.2.0.to_q.weight", {}, "image_proj.layers.2");
  expect_refused("sd15_plus", "layers.1.0.to_kv.weight", {64, 8}, "layers.1.0.to_kv.weight");
  expect_refused("sd15_plus", "proj_out.weight", {}, "image_proj.proj_out.weight is missing");
  ProjectionFile deep("sd15_plus");
  for (int i = 0; i < 100; ++i) {
    deep.tensors["image_proj.layers." + std::to_string(i) + ".0.to_q.weight"] =
        deep.tensors.at("image_proj.layers.0.0.to_q.weight");
  }
  testing::expect_error<CheckpointError>([&] { deep.build(); }, {"more than 64 layers"});
}

}  // namespace
}  // namespace pcpp
