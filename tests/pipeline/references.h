// Requests and reference latents of the tests' data, and how far a result is from them.
#ifndef PCPP_TESTS_PIPELINE_REFERENCES_H_
#define PCPP_TESTS_PIPELINE_REFERENCES_H_

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "io/json_file.h"
#include "pcpp/pcpp.h"
#include "support/errors.h"

namespace pcpp {

inline std::filesystem::path test_data(const std::string& name) {
  return std::filesystem::path(PCPP_TEST_DATA) / name;
}

// |value - reference| / |reference|, both as vectors; infinite where the shapes differ.
inline double relative_distance(const FloatTensor& value, const FloatTensor& reference) {
  if (value.shape != reference.shape) return INFINITY;
  double difference = 0;
  double norm = 0;
  for (std::size_t i = 0; i < value.values.size(); ++i) {
    difference += std::pow(value.values[i] - reference.values[i], 2);
    norm += std::pow(reference.values[i], 2);
  }
  return std::sqrt(difference / norm);
}

// A model's check of a request, changed, ends in a ConfigError with `part` in its text.
inline void expect_refused(const ModelInfo& model, GenerationRequest request,
                           const std::string& part,
                           const std::function<void(GenerationRequest&)>& change) {
  change(request);
  testing::expect_error<ConfigError>([&] { model.check(request, 1); }, {part});
}

// Each model is loaded once for each number of ranks.
inline Pipeline& cached_pipeline(const std::string& folder, int ranks) {
  static std::map<std::pair<std::string, int>, std::unique_ptr<Pipeline>> pipelines;
  std::unique_ptr<Pipeline>& pipeline = pipelines[{folder, ranks}];
  if (!pipeline) pipeline = std::make_unique<Pipeline>(test_data(folder), World(ranks, 1));
  return *pipeline;
}

// The request behind the cases of tests/data/patch: embeddings and latents are given, and no VAE.
inline GenerationRequest patch_request(const std::string& inputs) {
  const nlohmann::json index = read_json_file(test_data("patch/index.json"));
  TensorMap tensors = load_tensors(test_data("patch/" + inputs));
  GenerationRequest request;
  request.latents = tensors.at("latents");
  request.height = static_cast<int>(8 * request.latents->shape[2]);
  request.width = static_cast<int>(8 * request.latents->shape[3]);
  tensors.erase("latents");
  request.prompt_embeds = std::move(tensors);
  request.steps = index.at("num_inference_steps");
  request.guidance_scale = index.at("guidance_scale");
  request.parallel.sync_steps = index.at("sync_steps");
  request.decode = false;
  request.keep_steps = true;
  return request;
}

// Of bytes [n, 3, height, width].
inline std::vector<Image> images_of(const FloatTensor& bytes) {
  std::vector<Image> images(static_cast<std::size_t>(bytes.shape[0]));
  const auto pixels = static_cast<std::size_t>(bytes.shape[2] * bytes.shape[3]);
  for (std::size_t n = 0; n < images.size(); ++n) {
    images[n].height = static_cast<int>(bytes.shape[2]);
    images[n].width = static_cast<int>(bytes.shape[3]);
    for (std::size_t i = 0; i < 3 * pixels; ++i) {
      const float byte = bytes.values[(3 * n + i % 3) * pixels + i / 3];
      images[n].rgb.push_back(static_cast<std::uint8_t>(byte));
    }
  }
  return images;
}

// Coloured stripes, which differ with `seed`.
inline Image striped(int width, int height, int seed) {
  Image image{width, height, {}};
  for (int i = 0; i < 3 * width * height; ++i) {
    const int column = i / 3 % width;
    const int row = i / 3 / width;
    image.rgb.push_back(
        static_cast<std::uint8_t>((seed + 9 * column + 5 * row + 70 * (i % 3)) % 256));
  }
  return image;
}

// A tiny family's model with another U-Net (tests/reference/seeded_make.py): one that reads masks,
// where there is conv_in.weight, or the guidance scale, with time_embedding.cond_proj.weight.
// Returns whether there is either.
inline bool write_changed_model(const std::filesystem::path& folder, const std::string& family,
                                const TensorMap& references) {
  const auto conv_in = references.find("conv_in.weight");
  const auto told = references.find("time_embedding.cond_proj.weight");
  if (conv_in == references.end() && told == references.end()) return false;
  std::filesystem::copy(test_data("models/" + family), folder,
                        std::filesystem::copy_options::recursive);
  const std::filesystem::path unet = folder / "unet";
  nlohmann::json config = read_json_file(unet / "config.json");
  if (conv_in != references.end()) config["in_channels"] = conv_in->second.shape[1];
  if (told != references.end()) config["time_cond_proj_dim"] = told->second.shape[1];
  std::ofstream(unet / "config.json") << config;
  for (const auto& file : std::filesystem::directory_iterator(unet)) {
    if (file.path().extension() != ".safetensors") continue;
    TensorMap tensors = load_tensors(file.path());
    if (!tensors.contains("conv_in.weight")) continue;  // in another shard
    for (const auto& change : {conv_in, told}) {
      if (change != references.end()) tensors[change->first] = change->second;
    }
    save_tensors(file.path(), tensors);
  }
  return true;
}

// Black above a row, white below.
inline Image white_below(int row, int width, int height) {
  Image mask{width, height, {}};
  for (int i = 0; i < 3 * width * height; ++i) mask.rgb.push_back(i < 3 * width * row ? 0 : 255);
  return mask;
}

// Of two pictures of one size, over all bytes.
inline int largest_difference(const Image& one, const Image& other) {
  if (one.rgb.size() != other.rgb.size()) throw std::logic_error("pictures of two sizes");
  int most = 0;
  for (std::size_t i = 0; i < one.rgb.size(); ++i) {
    most = std::max(most, std::abs(one.rgb[i] - other.rgb[i]));
  }
  return most;
}

// Synchronous bands, one for each of three ranks and split guidance on two draw what one device
// draws of the request; steady ones another picture, the same every time.
inline void expect_bands_as_one_device(const std::function<Pipeline(int ranks)>& pipeline_of,
                                       GenerationRequest request, double least) {
  const FloatTensor whole = pipeline_of(1).generate(request).latents;
  Pipeline three = pipeline_of(3);
  EXPECT_LE(relative_distance(three.generate(request).latents, whole), 2e-5);
  request.parallel.guidance = Guidance::split;
  EXPECT_LE(relative_distance(pipeline_of(2).generate(request).latents, whole), 2e-5);
  request.parallel = ParallelConfig::pcpp();
  request.parallel.sync_steps = 1;
  const GenerationResult steady = three.generate(request);
  EXPECT_EQ(steady.ranks[0].steps[2].kind, StepKind::steady);
  EXPECT_GT(relative_distance(steady.latents, whole), least);
  EXPECT_LE(relative_distance(steady.latents, whole), 0.5);
  EXPECT_EQ(three.generate(request).latents.values, steady.latents.values);
}

// Of a tiny model with text encoders and a VAE; high enough for three bands.
inline GenerationRequest two_tall_pictures() {
  GenerationRequest request;
  request.prompts = {"a fox", "a red car"};
  request.width = 64;
  request.height = 192;
  request.guidance_scale = 3;
  request.steps = 3;
  return request;
}

}  // namespace pcpp

#endif  // PCPP_TESTS_PIPELINE_REFERENCES_H_
