#include "io/checkpoint.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <set>
#include <utility>

#include "base/check.h"
#include "base/excerpt.h"
#include "io/control_net_file.h"
#include "io/input_file.h"
#include "io/json_file.h"
#include "io/model_family.h"
#include "io/single_file.h"

namespace pcpp {
namespace {

using nlohmann::json;
namespace fs = std::filesystem;

constexpr std::array<std::string_view, 4> kWithWeights = {"unet", "vae", "text_encoder",
                                                          "text_encoder_2"};

bool is_of_weights(std::string_view component) {
  return std::ranges::find(kWithWeights, component) != kWithWeights.end();
}

bool is_there(const fs::path& path) { return type_of(path) != fs::file_type::not_found; }

bool is_folder(const fs::path& path) { return type_of(path) == fs::file_type::directory; }

void check_is_there(const fs::path& path) {
  check<CheckpointError>(is_there(path),
                         "there is no folder and no file {}, looked for from {}: name one that is "
                         "there; none is fetched",
                         path.string(), from_root(".").string());
}

// Whether a component that lies by itself is a single file. Throws CheckpointError where it is no
// folder of one either.
bool is_lone_file(const fs::path& path, std::string_view what) {
  if (type_of(path) == fs::file_type::regular) return true;
  check_is_there(path);
  check_model_folder(path);
  check<CheckpointError>(!is_there(path / "model_index.json"),
                         "{} is a whole model, and no {}: name the folder of one", path.string(),
                         what);
  return false;
}

}  // namespace

Component::Component(fs::path folder, std::optional<std::string> variant)
    : place_(folder.string()), folder_(std::move(folder)), variant_(std::move(variant)) {}

Component Component::control_net(const fs::path& path, const std::optional<std::string>& variant) {
  if (!is_lone_file(path, "ControlNet")) return {from_root(path), variant};
  const SafetensorsFile file = SafetensorsFile::open(from_root(path));
  Component component({}, {});
  component.place_ = path.string();
  component.weights_ = Weights(file, read_control_net_file(file.tensors(), path.string()), {});
  return component;
}

fs::path Component::file(std::string_view name) const {
  fs::path path = folder_ / name;
  check<CheckpointError>(is_there(path), "{} is missing; fetch the whole folder of the model",
                         path.string());
  return path;
}

std::string Component::config_source(std::string_view file_name) const {
  return config_ ? place_ : file(file_name).string();
}

json Component::config_object(std::string_view file_name) const {
  return config_ ? *config_ : read_json_file(file(file_name));
}

ConfigReader Component::config(std::string_view file_name) const {
  return {config_object(file_name), config_source(file_name)};
}

Weights Component::weights() const {
  return weights_ ? *weights_ : Weights::open(folder_, variant_);
}

ClipTokenizer Component::tokenizer() const {
  return config_ ? ClipTokenizer::clip(config_->at("pad_token")) : ClipTokenizer::load(folder_);
}

struct Checkpoint::Parts {
  SafetensorsFile file;
  SingleFile single;
  std::optional<Checkpoint> folder;     // with configs, or
  std::map<std::string, json> configs;  // by component
};

Checkpoint Checkpoint::open_file(const fs::path& file, const std::optional<fs::path>& configs) {
  Checkpoint result;
  result.path_ = from_root(file);
  result.index_ = json::object();
  const SafetensorsFile opened = SafetensorsFile::open(result.path_);
  const std::string source = file.string();
  Parts parts{opened, read_single_file(opened.tensors(), source), {}, {}};
  if (configs) {
    check_model_folder(*configs);
    parts.folder = open(*configs);
    if (parts.folder->has("scheduler")) {
      const Component scheduler = parts.folder->component("scheduler");
      json config = scheduler.config_object("scheduler_config.json");
      if (adapt_scheduler(config, parts.single, opened.tensors(), source)) {
        parts.configs.emplace("scheduler", std::move(config));
      }
    }
  } else {
    parts.configs = family_configs(parts.single, opened.tensors(), source);
  }
  result.parts_ = std::make_shared<const Parts>(std::move(parts));
  return result;
}

Checkpoint Checkpoint::open(const fs::path& path, const CheckpointOptions& options) {
  Checkpoint result = open_model(path, options);
  if (options.vae) result.vae_ = result.open_vae(*options.vae);
  return result;
}

Checkpoint Checkpoint::open_model(const fs::path& path, const CheckpointOptions& options) {
  const std::optional<std::string>& variant = options.variant;
  if (type_of(path) == fs::file_type::regular) {
    check<ConfigError>(!variant, "{} is a single file, which has no variants: name none",
                       path.string());
    return open_file(path, options.configs);
  }
  check<ConfigError>(!options.configs, "{}: configs are named for a single file, and this is none",
                     path.string());
  check_is_there(path);
  check<CheckpointError>(
      is_folder(path),
      "{} is neither a folder nor a file; a model in diffusers' layout or a single "
      "safetensors file is wanted",
      path.string());
  Checkpoint result;
  result.path_ = from_root(path);
  result.variant_ = variant;
  result.index_ = json::object();
  const fs::path index = path / "model_index.json";
  if (is_there(index)) {
    result.index_ = read_json_file(index);
    check<CheckpointError>(result.index_.is_object(), "{}: {} is not a JSON object", index.string(),
                           to_error_text(result.index_));
  } else {
    check<CheckpointError>(is_folder(path / "unet"),
                           "{} holds neither model_index.json nor a folder unet; a model in "
                           "diffusers' layout is wanted",
                           path.string());
  }
  if (variant) result.check_variant(*variant);
  return result;
}

Component Checkpoint::open_vae(const fs::path& path) const {
  if (!is_lone_file(path, "VAE")) return {from_root(path), variant_};
  const SafetensorsFile file = SafetensorsFile::open(from_root(path));
  std::map<std::string, TensorView> tensors = read_vae_file(file.tensors(), path.string());
  check<CheckpointError>(parts_ || has("vae"),
                         "{} holds weights alone, and {} has no VAE whose config they could take: "
                         "name the folder of one in diffusers' layout",
                         path.string(), path_.string());
  Component component = parts_ ? without_weights("vae") : this->component("vae");
  component.place_ = path.string();
  component.weights_ = Weights(file, std::move(tensors), {});
  return component;
}

void Checkpoint::check_variant(const std::string& variant) const {
  std::set<std::string> variants;
  for (const std::string_view name : kWithWeights) {
    if (has(name)) variants.merge(variants_in(path_ / name));
  }
  variants.erase("");
  check<CheckpointError>(variants.contains(variant),
                         "{}: no component has weights of the variant {}; {}", path_.string(),
                         excerpt(variant),
                         variants.empty() ? "there are only plain ones: name none"
                                          : "there are: " + list_of(variants));
}

bool Checkpoint::has(std::string_view name) const {
  if (vae_ && name == "vae") return true;
  if (parts_) {
    const std::string key(name);
    if (parts_->single.components.contains(key)) return true;
    if (is_of_weights(name)) return false;
    return parts_->folder ? parts_->folder->has(name) : parts_->configs.contains(key);
  }
  const auto entry = index_.find(name);
  const bool is_null = entry != index_.end() &&
                       (entry->is_null() || (entry->is_array() && entry->size() == 2 &&
                                             (*entry)[0].is_null() && (*entry)[1].is_null()));
  return !is_null && is_folder(path_ / name);
}

Component Checkpoint::component(std::string_view name) const {
  if (vae_ && name == "vae") return *vae_;
  if (!parts_) {
    check<CheckpointError>(has(name),
                           "{}: the model has no {}; {} is missing or model_index.json "
                           "says null",
                           path_.string(), name, (path_ / name).string());
    return {path_ / name, variant_};
  }
  check<CheckpointError>(!is_of_weights(name) || has(name),
                         "{}: the file has no {}: {}take a file with all parts", path_.string(),
                         name, name == "vae" ? "name a VAE of your own, or " : "");
  Component component = without_weights(name);
  take_weights(component, name);
  return component;
}

Component Checkpoint::without_weights(std::string_view name) const {
  const auto config = parts_->configs.find(std::string(name));
  if (parts_->folder) {
    Component component = parts_->folder->component(name);
    if (config != parts_->configs.end()) component.config_ = config->second;
    return component;
  }
  Component component({}, {});
  component.place_ = fmt::format("{} ({})", path_.string(), name);
  check<CheckpointError>(config != parts_->configs.end(),
                         "{}: it has a {}, which its U-Net's family has not: name a folder with "
                         "its configs",
                         path_.string(), name);
  component.config_ = config->second;
  return component;
}

void Checkpoint::take_weights(Component& component, std::string_view name) const {
  const auto found = parts_->single.components.find(std::string(name));
  if (found == parts_->single.components.end()) return;
  component.place_ = fmt::format("{} ({})", path_.string(), name);
  component.weights_ = Weights(parts_->file, found->second, parts_->single.made);
}

std::string Checkpoint::pipeline_class() const {
  if (parts_) return parts_->folder ? parts_->folder->pipeline_class() : "";
  return ConfigReader(index_, (path_ / "model_index.json").string()).text("_class_name", "");
}

double Checkpoint::number(std::string_view key, double absent) const {
  if (parts_ && parts_->folder) return parts_->folder->number(key, absent);
  return ConfigReader(index_, (path_ / "model_index.json").string()).number(key, absent);
}

bool Checkpoint::flag(std::string_view key, bool absent) const {
  if (parts_ && parts_->folder) return parts_->folder->flag(key, absent);
  ConfigReader index(index_, (path_ / "model_index.json").string());
  return index.has(key) ? index.boolean(key) : absent;
}

}  // namespace pcpp
