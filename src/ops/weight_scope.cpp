#include "ops/weight_scope.h"

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstddef>
#include <cstring>
#include <optional>
#include <set>
#include <span>
#include <stdexcept>
#include <utility>

#include "base/check.h"
#include "base/excerpt.h"

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
};

namespace {

// Whether none of the numbers is infinite or not a number: has all bits of its exponent.
template <typename Bits>
bool all_finite(std::span<const Bits> numbers, Bits exponent) {
  Bits found = 0;
  for (const Bits number : numbers) found |= (number & exponent) == exponent ? 1U : 0U;
  return found == 0;
}

// Copies numbers from any address and says whether all of them are finite.
template <typename Bits>
bool copy_finite(std::span<const std::byte> source, Bits exponent, void* target) {
  constexpr std::int64_t kGrain = std::int64_t{1} << 18;
  auto* numbers = static_cast<Bits*>(target);
  std::atomic<bool> finite = true;
  at::parallel_for(0, static_cast<std::int64_t>(source.size() / sizeof(Bits)), kGrain,
                   [&](std::int64_t begin, std::int64_t end) {
                     const auto first = static_cast<std::size_t>(begin);
                     const auto count = static_cast<std::size_t>(end - begin);
                     std::memcpy(numbers + first, source.data() + first * sizeof(Bits),
                                 count * sizeof(Bits));
                     const std::span<const Bits> copied(numbers + first, count);
                     if (!all_finite(copied, exponent)) finite = false;
                   });
  return finite;
}

// As it is stored, or float32 where it is of more bits; nothing where a value is not a finite
// float32 number. Throws as to_float() does.
std::optional<at::Tensor> read_finite(const TensorView& view, const std::string& name) {
  const auto read = [&view](at::ScalarType dtype, auto exponent) -> std::optional<at::Tensor> {
    at::Tensor values = at::empty(view.shape, dtype);
    if (!copy_finite(view.bytes, exponent, values.mutable_data_ptr())) return std::nullopt;
    return values;
  };
  if (view.dtype == DType::f32) return read(at::kFloat, std::uint32_t{0x7F800000U});
  if (view.dtype == DType::f16) return read(at::kHalf, std::uint16_t{0x7C00U});
  if (view.dtype == DType::bf16) return read(at::kBFloat16, std::uint16_t{0x7F80U});
  at::Tensor values = at::empty(view.shape, at::kFloat);
  const std::span<float> floats(values.mutable_data_ptr<float>(),
                                static_cast<std::size_t>(values.numel()));
  to_float(view, name, floats);
  const bool finite = std::ranges::all_of(floats, [](float value) { return std::isfinite(value); });
  return finite ? std::optional(std::move(values)) : std::nullopt;
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
  source_->taken_elements += view.element_count();
  const std::optional<at::Tensor> values = read_finite(view, source_->name + ": " + full);
  if (source_->weights) source_->weights->release(view);
  check<CheckpointError>(values.has_value(),
                         "{}: the tensor {} holds a value that is not a finite float32 number: the "
                         "file is damaged, or its training went astray; get it again",
                         source_->name, full);
  return values->to(source_->dtype).to(source_->device);
}

void WeightScope::finish() const {
  constexpr std::size_t kNamed = 5;
  std::string extra;
  std::size_t count = 0;
  for (const auto& [name, view] : source_->tensors) {
    if (source_->taken.contains(name) || source_->ignored.contains(name)) continue;
    if (++count <= kNamed) extra += (extra.empty() ? "" : ", ") + excerpt(name);
  }
  check<CheckpointError>(count == 0,
                         "{}: {} tensors are not part of the network that config.json describes: "
                         "{}{}; config and weights do not belong together",
                         source_->name, count, extra, count > kNamed ? ", ..." : "");
}

}  // namespace pcpp
