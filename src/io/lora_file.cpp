#include "io/lora_file.h"

#include <cmath>
#include <functional>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <string_view>
#include <utility>

#include "base/check.h"
#include "base/excerpt.h"
#include "io/config_reader.h"
#include "io/lora_names.h"

namespace pcpp {
namespace {

using nlohmann::json;

// What the file holds of one weight's update.
struct Parts {
  const TensorView* down = nullptr;
  const TensorView* up = nullptr;
  const TensorView* alpha = nullptr;
  std::string name;  // of one of them in the file, for errors
};

const TensorView*& place_of(Parts& parts, LoraPart part) {
  if (part == LoraPart::down) return parts.down;
  return part == LoraPart::up ? parts.up : parts.alpha;
}

std::map<std::string, std::map<std::string, Parts>> parts_of(const SafetensorsFile& file) {
  std::map<std::string, std::map<std::string, Parts>> all;
  for (const auto& [name, tensor] : file.tensors()) {
    const std::optional<LoraName> parsed = parse_lora_name(name);
    check<CheckpointError>(
        parsed.has_value(),
        "{}: the tensor {} is none of a LoRA for a U-Net or its text encoders as kohya's scripts, "
        "PEFT and diffusers write it (LoHa, LoKr and DoRA are not supported); fuse it into the "
        "model with the program that made it",
        file.path().string(), excerpt(name));
    Parts& parts = all[parsed->component][parsed->weight];
    const TensorView*& place = place_of(parts, parsed->part);
    check<CheckpointError>(place == nullptr,
                           "{}: the tensor {} changes the same weight as another of its tensors; "
                           "save the LoRA anew under one kind of names",
                           file.path().string(), excerpt(name));
    place = &tensor;
    parts.name = name;
  }
  return all;
}

double read_scalar(const TensorView& tensor, const std::string& name) {
  float value = 0;
  check<CheckpointError>(tensor.element_count() == 1, "{}: alpha has shape {}; it is one number",
                         name, to_string(tensor.shape));
  to_float(tensor, name, std::span(&value, 1));
  check<CheckpointError>(std::isfinite(value), "{}: alpha is {}; it must be finite", name, value);
  return value;
}

// PEFT's alphas by component, where diffusers saved its settings with the file.
std::map<std::string, double> alphas_of(const SafetensorsFile& file) {
  std::map<std::string, double> alphas;
  const auto found = file.metadata().find("lora_adapter_metadata");
  if (found == file.metadata().end()) return alphas;
  const std::string source = file.path().string() + ": lora_adapter_metadata";
  const json settings = json::parse(found->second, nullptr, false);
  check<CheckpointError>(settings.is_object(), "{} is not a JSON object; get the file again",
                         source);
  ConfigReader reader(settings, source);
  for (const std::string component : {"unet", "text_encoder", "text_encoder_2"}) {
    const std::string pattern = component + ".alpha_pattern";
    const json alphas_of_weights = reader.value(pattern);
    if (!alphas_of_weights.is_null() && !alphas_of_weights.empty()) {
      reader.refuse(pattern,
                    "alphas of single weights are not supported; fuse the LoRA into the "
                    "model with diffusers");
    }
    reader.require_equal(component + ".use_rslora", false, false);
    const std::string alpha = component + ".lora_alpha";
    if (reader.has(alpha)) alphas.emplace(component, reader.number(alpha));
  }
  return alphas;
}

// Throws unless they are a pair of one rank.
void check_shapes(const TensorView& down, const TensorView& up, const std::string& name) {
  const bool matrices = down.shape.size() >= 2 && up.shape.size() >= 2 && down.shape[0] > 0 &&
                        up.shape[1] == down.shape[0] &&
                        up.element_count() == up.shape[0] * up.shape[1];
  check<CheckpointError>(matrices,
                         "{}: down has shape {} and up {}; [rank, inputs, ...] and [outputs, rank] "
                         "of one rank are wanted",
                         name, to_string(down.shape), to_string(up.shape));
}

}  // namespace

LoraFile::LoraFile(SafetensorsFile file) : file_(std::move(file)) {}

LoraFile LoraFile::open(const std::filesystem::path& path, double scale) {
  LoraFile result(SafetensorsFile::open(path));
  const std::map<std::string, double> alphas = alphas_of(result.file_);
  for (const auto& [component, weights] : parts_of(result.file_)) {
    const auto common = alphas.find(component);
    for (const auto& [weight, parts] : weights) {
      const std::string name = path.string() + ": " + excerpt(parts.name);
      check<CheckpointError>(parts.down != nullptr && parts.up != nullptr,
                             "{}: the {} of this weight is missing; get the file again", name,
                             parts.down == nullptr ? "down" : "up");
      check_shapes(*parts.down, *parts.up, name);
      const auto rank = static_cast<double>(parts.down->shape[0]);
      double alpha = common == alphas.end() ? rank : common->second;
      if (parts.alpha != nullptr) alpha = read_scalar(*parts.alpha, name);
      result.components_[component].emplace(
          weight, LoraUpdate{*parts.down, *parts.up, scale * alpha / rank});
    }
  }
  check<CheckpointError>(!result.components_.empty(), "{} holds no tensors; get the file again",
                         path.string());
  return result;
}

void LoraFile::release(const LoraUpdate& update) const {
  file_.release(update.down);
  file_.release(update.up);
}

}  // namespace pcpp
