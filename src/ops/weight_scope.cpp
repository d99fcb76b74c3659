#include "ops/weight_scope.h"

#include <ATen/ops/empty.h>
#include <c10/core/InferenceMode.h>

#include <optional>
#include <set>
#include <stdexcept>
#include <utility>

#include "base/check.h"
#include "base/excerpt.h"
#include "io/lora_names.h"
#include "ops/apply_lora.h"
#include "ops/read_finite.h"

namespace pcpp {

struct WeightScope::Source {
  std::optional<Weights> weights;  // keeps the mappings that the views look into
  std::map<std::string, TensorView> tensors;
  std::string name;
  at::ScalarType dtype = at::kFloat;
  at::Device device = at::kCPU;
  bool made = false;  // tensors are not read but made
  std::stop_token stop;
  std::int64_t taken_elements = 0;
  std::set<std::string> taken;
  std::set<std::string> ignored;
  struct Addition {
    LoraFile lora;             // keeps alive what the update is of
    const LoraUpdate* update;  // to one tensor
  };
  std::map<std::string, std::vector<Addition>> additions;
};

namespace {

constexpr std::string_view kWeight = ".weight";

void check_fits(const LoraUpdate& update, const TensorView& weight, const std::string& name) {
  if (update.fits(weight)) return;
  std::vector<std::string> shapes;
  for (const TensorView& tensor : update.tensors()) shapes.push_back(to_string(tensor.shape));
  fail<CheckpointError>(
      "{} has shape {}, which the LoRA changes by tensors of {}: it is for another model", name,
      to_string(weight.shape), first_of(shapes));
}

}  // namespace

WeightScope::WeightScope(const Weights& weights, at::ScalarType dtype, at::Device device,
                         std::stop_token stop)
    : WeightScope(weights.tensors(), weights.path().string(), dtype) {
  source_->weights = weights;
  source_->device = device;
  source_->stop = std::move(stop);
}

WeightScope::WeightScope(std::map<std::string, TensorView> tensors, std::string source,
                         at::ScalarType dtype)
    : source_(std::make_shared<Source>()) {
  source_->tensors = std::move(tensors);
  source_->name = std::move(source);
  source_->dtype = dtype;
}

WeightScope::WeightScope(std::shared_ptr<Source> source, std::string label, std::string path)
    : source_(std::move(source)), label_(std::move(label)), path_(std::move(path)) {}

WeightScope WeightScope::shapes_only(at::ScalarType dtype) { return made(dtype, at::kMeta); }

WeightScope WeightScope::shapes_of(const Weights& weights, at::ScalarType dtype) {
  return {weights, dtype, at::kMeta};
}

WeightScope WeightScope::constants(at::ScalarType dtype, at::Device device) {
  return made(dtype, device);
}

WeightScope WeightScope::made(at::ScalarType dtype, at::Device device) {
  auto source = std::make_shared<Source>();
  source->name = "made weights";
  source->dtype = dtype;
  source->device = device;
  source->made = true;
  return {std::move(source), "", ""};
}

at::Device WeightScope::device() const { return source_->device; }

std::int64_t WeightScope::taken_elements() const { return source_->taken_elements; }

WeightScope WeightScope::scope(const std::string& name) const {
  WeightScope inner(source_, label_, full_name(name));
  for (const WeightScope& adapter : adapters_) inner.adapters_.push_back(adapter.scope(name));
  return inner;
}

WeightScope WeightScope::labelled(const std::string& label) const {
  WeightScope labelled = *this;
  labelled.label_ = label;
  return labelled;
}

WeightScope WeightScope::with_adapters(std::vector<WeightScope> adapters) const {
  WeightScope adapted = *this;
  adapted.adapters_ = std::move(adapters);
  return adapted;
}

std::string WeightScope::path() const {
  return label_.empty() || path_.empty() ? label_ + path_ : label_ + "." + path_;
}

std::string WeightScope::full_name(const std::string& name) const {
  return path_.empty() ? name : path_ + "." + name;
}

bool WeightScope::has(const std::string& name) const {
  return source_->tensors.contains(full_name(name));
}

void WeightScope::ignore(const std::string& name) const {
  source_->ignored.insert(full_name(name));
}

void WeightScope::add(const LoraFile& lora, const std::string& component) const {
  const auto updates = lora.components().find(component);
  if (updates == lora.components().end()) return;
  const std::string file = lora.path().string();
  LoraUpdates left = updates->second;
  for (const auto& [name, tensor] : source_->tensors) {
    if (!name.ends_with(kWeight)) continue;
    const std::string flat = flat_name(name.substr(0, name.size() - kWeight.size()));
    const auto update = updates->second.find(flat);
    if (left.erase(flat) == 0) continue;
    check_fits(update->second, tensor, file + ": " + excerpt(name));
    source_->additions[name].push_back({lora, &update->second});
  }
  std::vector<std::string> names;
  for (const auto& [name, update] : left) names.push_back(excerpt(name));
  check<CheckpointError>(left.empty(),
                         "{} changes {} weights that {} does not have: {}; it is for another model",
                         file, left.size(), source_->name, first_of(names));
}

at::Tensor WeightScope::take(const std::string& name,
                             const std::vector<std::int64_t>& shape) const {
  check_not_stopped(source_->stop);
  const c10::InferenceMode ordinary_tensors(false);
  const std::string full = full_name(name);
  if (source_->made) {
    const auto outputs = static_cast<double>(shape.front());
    at::Tensor made = at::empty(shape, at::TensorOptions(source_->dtype).device(source_->device));
    source_->taken_elements += made.numel();
    return made.fill_(outputs / static_cast<double>(made.numel()));
  }
  const auto found = source_->tensors.find(full);
  check<CheckpointError>(found != source_->tensors.end(),
                         "{}: the tensor {} of shape {} is missing: config and "
                         "weights do not belong together, or the file is not complete",
                         source_->name, full, to_string(shape));
  const TensorView& view = found->second;
  check<CheckpointError>(view.shape == shape,
                         "{}: the tensor {} has shape {} where the config asks for {}: config and "
                         "weights do not belong together",
                         source_->name, full, to_string(view.shape), to_string(shape));
  check<std::logic_error>(source_->taken.insert(full).second, "the tensor {} was taken twice",
                          full);
  source_->taken_elements += view.element_count();
  if (source_->device.is_meta()) {
    return at::empty(shape, at::TensorOptions(source_->dtype).device(at::kMeta));
  }
  at::Tensor values = read_finite(view, source_->name + ": " + full);
  if (source_->weights) source_->weights->release(view);
  return with_added(std::move(values), full).to(source_->device);
}

at::Tensor WeightScope::with_added(at::Tensor values, const std::string& full_name) const {
  const auto found = source_->additions.find(full_name);
  if (found == source_->additions.end()) return values.to(source_->dtype);
  for (const auto& [lora, update] : found->second) {
    values = apply_lora(values, *update, lora.path().string() + ": " + full_name);
    lora.release(*update);
  }
  values = values.to(source_->dtype);
  check<CheckpointError>(all_finite(values),
                         "{}: {} is beyond {} with what {} adds to it; add it at a smaller scale",
                         source_->name, full_name, c10::toString(source_->dtype),
                         found->second.back().lora.path().string());
  return values;
}

void WeightScope::finish() const {
  std::vector<std::string> extra;
  for (const auto& [name, view] : source_->tensors) {
    if (!path_.empty() && !name.starts_with(path_ + ".")) continue;
    if (source_->taken.contains(name) || source_->ignored.contains(name)) continue;
    extra.push_back(excerpt(name));
  }
  check<CheckpointError>(extra.empty(),
                         "{}: {} tensors are not part of the network that the config describes: "
                         "{}; config and weights do not belong together",
                         source_->name, extra.size(), first_of(extra));
}

}  // namespace pcpp
