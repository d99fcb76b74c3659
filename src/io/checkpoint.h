// A model: a folder in diffusers' layout (model_index.json and one folder for each component, with
// its config and its weights in one safetensors file or in shards), or a single file that holds the
// weights of all components.
#ifndef PCPP_IO_CHECKPOINT_H_
#define PCPP_IO_CHECKPOINT_H_

#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>

#include "io/clip_tokenizer.h"
#include "io/config_reader.h"
#include "io/weights.h"

namespace pcpp {

// What a model is opened with besides its path; as PipelineOptions.
struct CheckpointOptions {
  std::optional<std::string> variant = {};
  std::optional<std::filesystem::path> configs = {};
  std::optional<std::filesystem::path> vae = {};
};

// One component: its folder, or its part of a single file.
class Component {
 public:
  Component(std::filesystem::path folder, std::optional<std::string> variant);
  // A ControlNet: a folder in diffusers' layout, or a single file (io/control_net_file), which has
  // no config. Throws CheckpointError for what is neither.
  static Component control_net(const std::filesystem::path& path,
                               const std::optional<std::string>& variant = std::nullopt);

  // Its folder, or the single file and its name, for people.
  const std::string& place() const { return place_; }
  bool has_config() const { return config_ || !folder_.empty(); }
  // `file_name` is config.json, or scheduler_config.json for a scheduler. Throws CheckpointError
  // where it is missing.
  ConfigReader config(std::string_view file_name = "config.json") const;
  // The same as an object, and as what errors call it.
  nlohmann::json config_object(std::string_view file_name) const;
  std::string config_source(std::string_view file_name) const;
  Weights weights() const;
  ClipTokenizer tokenizer() const;

 private:
  friend class Checkpoint;
  std::filesystem::path file(std::string_view name) const;

  std::string place_;
  std::filesystem::path folder_;
  std::optional<std::string> variant_;
  std::optional<nlohmann::json> config_;  // in place of the folder's
  std::optional<Weights> weights_;        // likewise
};

// The model as a whole. Immutable, thread-safe. Throws CheckpointError that names what is missing
// and what to do.
class Checkpoint {
 public:
  // `variant` is asked of every component that has it; a component without it gives its plain
  // weights, as diffusers does, but one of them must have it. What is opened stays the same folder
  // when the process goes to another.
  //
  // `path` may be a single file (io/single_file), which has no variants. Its configs and tokenizers
  // are its family's (io/model_family), or those of the folder `configs`, whose weights are not
  // read. Throws ConfigError for `configs` of a folder.
  //
  // `vae`, a folder or a single file, takes the place of the component of that name; a file has the
  // config of the one whose place it takes.
  static Checkpoint open(const std::filesystem::path& path, const CheckpointOptions& options = {});

  // The folder or the single file.
  const std::filesystem::path& path() const { return path_; }
  // Whether `name` ("unet", "text_encoder_2") has a folder and model_index.json, if there is one,
  // does not say that it is null. Of a single file: whether it has weights of it, or the configs
  // what has none. Throws CheckpointError where the system does not tell.
  bool has(std::string_view name) const;
  // Throws CheckpointError unless has(name).
  Component component(std::string_view name) const;
  // The pipeline's class in model_index.json ("StableDiffusionXLPipeline"); empty where it names
  // none.
  std::string pipeline_class() const;
  // A boolean of model_index.json, such as force_zeros_for_empty_prompt; `absent` where it is not
  // there or null.
  bool flag(std::string_view key, bool absent) const;
  // A number of it, likewise.
  double number(std::string_view key, double absent) const;

 private:
  Checkpoint() = default;
  // Throws CheckpointError unless one of the components has weights of it.
  void check_variant(const std::string& variant) const;

  static Checkpoint open_model(const std::filesystem::path& path, const CheckpointOptions& options);
  static Checkpoint open_file(const std::filesystem::path& file,
                              const std::optional<std::filesystem::path>& configs);
  Component open_vae(const std::filesystem::path& path) const;
  // Of a single file.
  Component without_weights(std::string_view name) const;
  // Gives a component those of the single file.
  void take_weights(Component& component, std::string_view name) const;

  // What a single file is read as.
  struct Parts;

  std::filesystem::path path_;
  std::optional<std::string> variant_;
  nlohmann::json index_;                // an object, empty where the folder has no model_index.json
  std::shared_ptr<const Parts> parts_;  // of a single file
  std::optional<Component> vae_;        // in place of the model's own
};

}  // namespace pcpp

#endif  // PCPP_IO_CHECKPOINT_H_
