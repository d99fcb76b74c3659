#include "ops/weight_scope.h"

#include <ATen/ops/empty.h>
#include <c10/core/InferenceMode.h>

#include <bit>
#include <optional>
#include <set>
#include <span>
#include <stdexcept>
#include <utility>

#include "base/check.h"

namespace pcpp {

struct WeightScope::Source {
  std::optional<Weights> weights;  // keeps the mappings that the views look into
  std::map<std::string, TensorView> tensors;
  std::string name;
  at::ScalarType dtype = at::kFloat;
  at::Device device = at::kCPU;
  bool made = false;  // tensors are not read but made
  std::int64_t taken_elements = 0;
  std::set<std::string> taken;
  std::set<std::string> ignored;
};

namespace {

bool all_finite(std::span<const float> values) {
  constexpr std::uint32_t kExponent = 0x7F800000U;  // all ones: infinite or not a number
  std::uint32_t found = 0;
  for (const float value : values) {
    const std::uint32_t exponent = std::bit_cast<std::uint32_t>(value) & kExponent;
    found |= exponent == kExponent ? 1U : 0U;
  }
  return found == 0;
}

}  // namespace

WeightScope::WeightScope(const Weights& weights, at::ScalarType dtype, at::Device device)
    : WeightScope(weights.tensors(), weights.path().string(), dtype) {
  source_->weights = weights;
  source_->device = device;
}

WeightScope::WeightScope(std::map<std::string, TensorView> tensors, std::string source,
                         at::ScalarType dtype)
    : source_(std::make_shared<Source>()) {
  source_->tensors = std::move(tensors);
  source_->name = std::move(source);
  source_->dtype = dtype;
}

WeightScope::WeightScope(std::shared_ptr<Source> source, std::string path)
    : source_(std::move(source)), path_(std::move(path)) {}

WeightScope WeightScope::shapes_only(at::ScalarType dtype) { return made(dtype, at::kMeta); }

WeightScope WeightScope::constants(at::ScalarType dtype, at::Device device) {
  return made(dtype, device);
}

WeightScope WeightScope::made(at::ScalarType dtype, at::Device device) {
  auto source = std::make_shared<Source>();
  source->name = "made weights";
  source->dtype = dtype;
  source->device = device;
  source->made = true;
  return {std::move(source), ""};
}

at::Device WeightScope::device() const { return source_->device; }

std::int64_t WeightScope::taken_elements() const { return source_->taken_elements; }

WeightScope WeightScope::scope(const std::string& name) const { return {source_, full_name(name)}; }

std::string WeightScope::full_name(const std::string& name) const {
  return path_.empty() ? name : path_ + "." + name;
}

bool WeightScope::has(const std::string& name) const {
  return source_->tensors.contains(full_name(name));
}

void WeightScope::ignore(const std::string& name) const {
  source_->ignored.insert(full_name(name));
}

at::Tensor WeightScope::take(const std::string& name,
                             const std::vector<std::int64_t>& shape) const {
  const c10::InferenceMode ordinary_tensors(false);
  const std::string full = full_name(name);
  std::int64_t elements = 1;
  for (const std::int64_t extent : shape) elements *= extent;
  source_->taken_elements += elements;
  if (source_->made) {
    const double outputs = static_cast<double>(shape.front());
    at::Tensor made = at::empty(shape, at::TensorOptions(source_->dtype).device(source_->device));
    return made.fill_(outputs / static_cast<double>(elements));
  }
  const auto found = source_->tensors.find(full);
  check<CheckpointError>(found != source_->tensors.end(),
                         "{}: the tensor {} of shape {} is missing: the folder's config.json and "
                         "weights do not belong together, or the file is not complete",
                         source_->name, full, to_string(shape));
  const TensorView& view = found->second;
  check<CheckpointError>(view.shape == shape,
                         "{}: the tensor {} has shape {} where config.json asks for {}: config and "
                         "weights do not belong together",
                         source_->name, full, to_string(view.shape), to_string(shape));
  check<std::logic_error>(source_->taken.insert(full).second, "the tensor {} was taken twice",
                          full);
  at::Tensor values = at::empty(shape, at::kFloat);
  const std::span<float> floats(values.mutable_data_ptr<float>(),
                                static_cast<std::size_t>(values.numel()));
  to_float(view, source_->name + ": " + full, floats);
  if (source_->weights) source_->weights->release(view);
  check<CheckpointError>(all_finite(floats),
                         "{}: the tensor {} holds a value that is not a finite float32 number: the "
                         "file is damaged, or its training went astray; get it again",
                         source_->name, full);
  return values.to(source_->dtype).to(source_->device);
}

void WeightScope::finish() const {
  constexpr std::size_t kNamed = 5;
  std::string extra;
  std::size_t count = 0;
  for (const auto& [name, view] : source_->tensors) {
    if (source_->taken.contains(name) || source_->ignored.contains(name)) continue;
    if (++count <= kNamed) extra += (extra.empty() ? "" : ", ") + name;
  }
  check<CheckpointError>(count == 0,
                         "{}: {} tensors are not part of the network that config.json describes: "
                         "{}{}; config and weights do not belong together",
                         source_->name, count, extra, count > kNamed ? ", ..." : "");
}

}  // namespace pcpp
