#include "ops/onednn.h"

#include <ATen/Context.h>
#include <ATen/core/List.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <c10/core/InferenceMode.h>
#include <malloc.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdint>
#include <optional>
#include <string_view>

#include "gpu/gpu.h"

namespace pcpp {

namespace {

using OptionalTensor = std::optional<at::Tensor>;
using Name = std::string_view;
using Scalars = c10::List<std::optional<at::Scalar>>;

constexpr std::array kOperators = {"mkldnn::_reorder_convolution_weight",
                                   "mkldnn::_convolution_pointwise",
                                   "mkldnn::_get_mkldnn_serialized_md", "mkldnn::_linear_pointwise",
                                   "mkldnn::_reorder_linear_weight"};

template <typename Signature>
auto find(const char* name, const char* overload = "") {
  return c10::Dispatcher::singleton().findSchemaOrThrow(name, overload).typed<Signature>();
}

OptionalTensor optional(const at::Tensor& tensor) {
  return tensor.defined() ? OptionalTensor(tensor) : std::nullopt;
}

}  // namespace

void give_back_freed_memory(const at::Tensor& weight) {
#ifdef __GLIBC__
  constexpr std::int64_t kEnough = 16 << 20;
  static std::atomic<std::int64_t> freed = 0;
  const auto bytes = static_cast<std::int64_t>(weight.nbytes());
  if (freed.fetch_add(bytes) + bytes < kEnough) return;
  freed = 0;
  malloc_trim(0);
#endif
}

bool onednn_serves(const at::Tensor& weight) {
  c10::Dispatcher& dispatcher = c10::Dispatcher::singleton();
  if (on_gpu(weight) || !weight.is_cpu() || !at::globalContext().userEnabledMkldnn()) return false;
  if (!std::ranges::all_of(kOperators, [&](const char* name) {
        return dispatcher.findSchema({name, ""}).has_value();
      })) {
    return false;
  }
  if (weight.scalar_type() == at::kFloat) return true;
  const auto supports_bfloat16 = dispatcher.findSchema({"mkldnn::_is_mkldnn_bf16_supported", ""});
  return weight.scalar_type() == at::kBFloat16 && supports_bfloat16 &&
         supports_bfloat16->typed<bool()>().call();
}

at::Tensor pack_linear(const at::Tensor& weight) {
  static const auto reorder = find<at::Tensor(const at::Tensor&, std::optional<std::int64_t>)>(
      "mkldnn::_reorder_linear_weight");
  const c10::InferenceMode ordinary_tensors(false);
  give_back_freed_memory(weight);
  return reorder.call(weight, std::nullopt);
}

at::Tensor linear_packed(const at::Tensor& input, const at::Tensor& weight,
                         const at::Tensor& bias) {
  static const auto linear =
      find<at::Tensor(const at::Tensor&, const at::Tensor&, const OptionalTensor&, Name, Scalars,
                      std::optional<Name>)>("mkldnn::_linear_pointwise");
  return linear.call(input, weight, optional(bias), "none", Scalars(), "");
}

at::Tensor pack_convolution(const at::Tensor& weight, at::IntArrayRef padding,
                            at::IntArrayRef stride, at::IntArrayRef input_sizes) {
  static const auto reorder =
      find<at::Tensor(const at::Tensor&, at::IntArrayRef, at::IntArrayRef, at::IntArrayRef,
                      std::int64_t, at::OptionalIntArrayRef)>(
          "mkldnn::_reorder_convolution_weight");
  const c10::InferenceMode ordinary_tensors(false);
  give_back_freed_memory(weight);
  return reorder.call(weight, padding, stride, {1, 1}, 1, input_sizes);
}

at::Tensor convolve_packed(const at::Tensor& input, const at::Tensor& weight,
                           const at::Tensor& bias, at::IntArrayRef padding,
                           at::IntArrayRef stride) {
  static const auto convolution =
      find<at::Tensor(const at::Tensor&, const at::Tensor&, const OptionalTensor&, at::IntArrayRef,
                      at::IntArrayRef, at::IntArrayRef, std::int64_t, Name, Scalars,
                      std::optional<Name>)>("mkldnn::_convolution_pointwise");
  return convolution.call(input, weight, bias, padding, stride, {1, 1}, 1, "none", Scalars(), "");
}

void add_convolved_packed(const at::Tensor& sum, const at::Tensor& input, const at::Tensor& weight,
                          const at::Tensor& bias, at::IntArrayRef padding, at::IntArrayRef stride) {
  static const auto convolution =
      find<at::Tensor&(at::Tensor&, const at::Tensor&, const at::Tensor&, const OptionalTensor&,
                       at::IntArrayRef, at::IntArrayRef, at::IntArrayRef, std::int64_t, Name,
                       std::optional<at::Scalar>, std::optional<Name>, Scalars,
                       std::optional<Name>)>("mkldnn::_convolution_pointwise_", "binary");
  at::Tensor target = sum;
  convolution.call(target, input, weight, bias, padding, stride, {1, 1}, 1, "add", at::Scalar(1.0),
                   std::nullopt, Scalars(), std::nullopt);
}

at::Tensor layout_of(const at::Tensor& packed) {
  static const auto descriptor =
      find<at::Tensor(const at::Tensor&)>("mkldnn::_get_mkldnn_serialized_md");
  return descriptor.call(packed);
}

}  // namespace pcpp
