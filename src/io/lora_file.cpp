#include "io/lora_file.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <string_view>
#include <utility>

#include "base/check.h"
#include "base/excerpt.h"
#include "base/log.h"
#include "io/config_reader.h"
#include "io/json_file.h"
#include "io/lora_names.h"

namespace pcpp {
namespace {

using nlohmann::json;

// What the file holds of one weight's update.
struct WeightParts {
  LoraParts parts;
  std::string name;  // of one of them in the file, for errors
};

// What else people take for a LoRA, and how names of its tensors begin.
struct NoLora {
  std::string_view prefix;
  std::string_view what;
};
constexpr std::array kNoLoras = {
    NoLora{"model.diffusion_model.", "a whole model: name it as that"},
    NoLora{"transformer.", "a LoRA for another kind of model, as FLUX: take one for this model"},
    NoLora{"lora_transformer_",
           "a LoRA for another kind of model, as FLUX: take one for this model"},
    NoLora{"emb_params", "a textual inversion: name it as that"},
    NoLora{"clip_l", "a textual inversion: name it as that"},
    NoLora{"clip_g", "a textual inversion: name it as that"}};
// Words that were trained along, which lie in it as textual inversions.
bool is_of_bundled_words(std::string_view name) { return name.starts_with("bundle_emb."); }

[[noreturn]] void fail_on_name(const SafetensorsFile& file, const std::string& name) {
  const std::string source = file.path().string();
  for (const NoLora& other : kNoLoras) {
    const auto found = file.tensors().lower_bound(std::string(other.prefix));
    if (found == file.tensors().end() || !found->first.starts_with(other.prefix)) continue;
    fail<CheckpointError>("{}: by its tensor {} it is {}", source, excerpt(found->first),
                          other.what);
  }
  fail<CheckpointError>(
      "{}: the tensor {} is none of a LoRA for a U-Net or its text encoders as kohya's scripts, "
      "LyCORIS, ComfyUI and diffusers write it (OFT, BOFT, GLoRA, IA3 and whole differences are "
      "not supported); fuse it into the model with the program that made it",
      source, excerpt(name));
}

std::map<std::string, std::map<std::string, WeightParts>> parts_of(const SafetensorsFile& file,
                                                                   int per_level) {
  std::map<std::string, std::map<std::string, WeightParts>> all;
  for (const auto& [name, tensor] : file.tensors()) {
    if (is_of_bundled_words(name)) continue;
    check<CheckpointError>(
        name.find("base_model.model.") == std::string::npos,
        "{}: the tensor {} is named as PEFT saves an adapter, whose alpha lies in another file: "
        "load it with diffusers and call save_lora_weights",
        file.path().string(), excerpt(name));
    const std::optional<LoraName> parsed = parse_lora_name(name, per_level);
    if (!parsed) fail_on_name(file, name);
    WeightParts& held = all[parsed->component][parsed->weight];
    check<CheckpointError>(held.parts.emplace(parsed->part, tensor).second,
                           "{}: the tensor {} changes the same weight as another of its tensors; "
                           "save the LoRA anew under one kind of names",
                           file.path().string(), excerpt(name));
    held.name = name;
  }
  return all;
}

template <typename Integer>
double read_integer(const TensorView& tensor) {
  Integer value = 0;
  std::memcpy(&value, tensor.bytes.data(), sizeof(value));
  return static_cast<double>(value);
}

// Trainers write alphas as integers, too.
double read_scalar(const TensorView& tensor, const std::string& name) {
  check<CheckpointError>(tensor.element_count() == 1, "{}: alpha has shape {}; it is one number",
                         name, to_string(tensor.shape));
  if (tensor.dtype == DType::i64) return read_integer<std::int64_t>(tensor);
  if (tensor.dtype == DType::i32) return read_integer<std::int32_t>(tensor);
  if (tensor.dtype == DType::i16) return read_integer<std::int16_t>(tensor);
  float value = 0;
  to_float(tensor, name, std::span(&value, 1));
  return value;
}

// Refuses, under keys that begin with `prefix`, what would make the file's matrices something else
// than their weights' change.
void check_settings(ConfigReader& settings, const std::string& prefix) {
  const std::string pattern = prefix + "alpha_pattern";
  const json alphas = settings.value(pattern);
  if (!alphas.is_null() && !alphas.empty()) {
    settings.refuse(pattern,
                    "alphas of single weights are not supported; fuse the LoRA into the "
                    "model with diffusers");
  }
  settings.require_equal(prefix + "use_rslora", false, false);
  const std::string start = prefix + "init_lora_weights";
  const json value = settings.value(start);
  for (const char* other : {"pissa", "olora", "corda", "loftq", "lora_ga"}) {
    if (value.is_string() && value.get<std::string>().starts_with(other)) {
      settings.refuse(start,
                      "it changes the model's own weights too, which is not supported; fuse "
                      "the LoRA into the model with diffusers");
    }
  }
}

// PEFT's alphas by component, where diffusers saved its settings with the file.
std::map<std::string, double> alphas_of(const SafetensorsFile& file) {
  std::map<std::string, double> alphas;
  const auto found = file.metadata().find("lora_adapter_metadata");
  if (found == file.metadata().end()) return alphas;
  const std::string source = file.path().string() + ": lora_adapter_metadata";
  const json object = parse_json(found->second, source);
  check<CheckpointError>(object.is_object(), "{} is not a JSON object; get the file again", source);
  ConfigReader settings(object, source);
  using Text = std::string;
  for (const auto& [prefix, component] : {std::pair<Text, Text>{"unet.", "unet"},
                                          {"text_encoder.", "text_encoder"},
                                          {"text_encoder_2.", "text_encoder_2"},
                                          {"", "unet"}}) {  // a U-Net that is saved alone
    check_settings(settings, prefix);
    const Text alpha = prefix + "lora_alpha";
    if (settings.has(alpha)) alphas.emplace(component, settings.number(alpha));
  }
  return alphas;
}

}  // namespace

LoraFile LoraFile::open(const std::filesystem::path& path, double scale, int per_level) {
  const auto file = std::make_shared<const SafetensorsFile>(SafetensorsFile::open(path));
  const std::map<std::string, double> alphas = alphas_of(*file);
  std::map<std::string, LoraUpdates> components;
  for (const auto& [component, weights] : parts_of(*file, per_level)) {
    const auto common = alphas.find(component);
    for (const auto& [weight, held] : weights) {
      if (held.parts.size() == 1 && held.parts.contains(LoraPart::alpha)) continue;  // of nothing
      const std::string name = path.string() + ": " + excerpt(held.name);
      std::optional<double> alpha;
      if (common != alphas.end()) alpha = common->second;
      const auto own = held.parts.find(LoraPart::alpha);
      if (own != held.parts.end()) alpha = read_scalar(own->second, name);
      components[component].emplace(weight, lora_update_of(held.parts, alpha, scale, name));
    }
  }
  const auto& tensors = file->tensors();
  if (std::ranges::any_of(tensors,
                          [](const auto& entry) { return is_of_bundled_words(entry.first); })) {
    log().warn(
        "{}: the words that lie in it (bundle_emb) are not read: name textual inversions of them",
        path.string());
  }
  check<CheckpointError>(!components.empty(),
                         "{} changes no weight, as it has {}; get the file again", path.string(),
                         tensors.empty() ? "no tensors" : "alphas and bundled words alone");
  LoraFile result;
  result.file_ = file;
  result.components_ =
      std::make_shared<const std::map<std::string, LoraUpdates>>(std::move(components));
  return result;
}

void LoraFile::release(const LoraUpdate& update) const {
  for (const TensorView& tensor : update.tensors()) file_->release(tensor);
}

}  // namespace pcpp
