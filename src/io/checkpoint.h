// A model's folder in diffusers' layout: model_index.json and one folder for each component, with
// its config and its weights in one safetensors file or in shards.
#ifndef PCPP_IO_CHECKPOINT_H_
#define PCPP_IO_CHECKPOINT_H_

#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "io/config_reader.h"
#include "io/safetensors.h"

namespace pcpp {

// The weights of one component: all tensors of its file or of its shards, in one map. The object
// owns the mappings; views live as long as any copy of it. Immutable, thread-safe.
class Weights {
 public:
  // Finds the weights in `folder`: diffusion_pytorch_model or model, `.safetensors` or
  // `.safetensors.index.json` with shards, with `variant` ("fp16": diffusion_pytorch_model.fp16
  // .safetensors, diffusion_pytorch_model.safetensors.index.fp16.json). Without a variant the plain
  // files are taken where they exist, else the only variant that is there. Throws CheckpointError
  // where there are none, where only pickled files (.bin) are, or where index and shards disagree.
  static Weights open(const std::filesystem::path& folder,
                      const std::optional<std::string>& variant = std::nullopt);

  const std::map<std::string, TensorView>& tensors() const { return tensors_; }
  // The file or the index that was read, for errors.
  const std::filesystem::path& path() const { return path_; }

  // Gives back the memory of one of them; it keeps its values.
  void release(const TensorView& tensor) const;

 private:
  std::filesystem::path path_;
  std::vector<SafetensorsFile> files_;
  std::map<std::string, TensorView> tensors_;
};

// One component's folder.
class Component {
 public:
  Component(std::filesystem::path folder, std::optional<std::string> variant);

  const std::filesystem::path& folder() const { return folder_; }
  // The file of this name in it. Throws CheckpointError where it is missing.
  std::filesystem::path file(std::string_view name) const;
  // `file_name` is config.json, or scheduler_config.json for a scheduler.
  ConfigReader config(std::string_view file_name = "config.json") const;
  Weights weights() const;

 private:
  std::filesystem::path folder_;
  std::optional<std::string> variant_;
};

// The folder as a whole. Immutable, thread-safe. Throws CheckpointError that names what is missing
// and what to do.
class Checkpoint {
 public:
  // `variant` is asked of every component that has it; a component without it gives its plain
  // weights, as diffusers does, but one of them must have it. What is opened stays the same folder
  // when the process goes to another.
  static Checkpoint open(const std::filesystem::path& folder,
                         const std::optional<std::string>& variant = std::nullopt);

  const std::filesystem::path& folder() const { return folder_; }
  // Whether `name` ("unet", "text_encoder_2") has a folder and model_index.json, if there is one,
  // does not say that it is null. Throws CheckpointError where the system does not tell.
  bool has(std::string_view name) const;
  // Throws CheckpointError unless has(name).
  Component component(std::string_view name) const;
  // The pipeline's class in model_index.json ("StableDiffusionXLPipeline"); empty where it names
  // none.
  std::string pipeline_class() const;
  // A boolean of model_index.json, such as force_zeros_for_empty_prompt; `absent` where it is not
  // there or null.
  bool flag(std::string_view key, bool absent) const;

 private:
  Checkpoint() = default;
  // Throws CheckpointError unless one of the components has weights of it.
  void check_variant(const std::string& variant) const;

  std::filesystem::path folder_;
  std::optional<std::string> variant_;
  nlohmann::json index_;  // an object, empty where the folder has no model_index.json
};

}  // namespace pcpp

#endif  // PCPP_IO_CHECKPOINT_H_
