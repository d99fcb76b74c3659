#include "ops/conv2d.h"

#include <ATen/Context.h>
#include <ATen/core/List.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/ops/conv2d.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/mkldnn_reorder_conv2d_weight.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <optional>
#include <string_view>
#include <utility>

namespace pcpp {

namespace {

// oneDNN's convolution behind libtorch's dispatcher, which its C++ headers do not declare.
at::Tensor convolve_packed(const at::Tensor& input, const at::Tensor& weight,
                           const at::Tensor& bias, at::IntArrayRef padding,
                           at::IntArrayRef stride) {
  using Signature =
      at::Tensor(const at::Tensor&, const at::Tensor&, const std::optional<at::Tensor>&,
                 at::IntArrayRef, at::IntArrayRef, at::IntArrayRef, std::int64_t, std::string_view,
                 c10::List<std::optional<at::Scalar>>, std::optional<std::string_view>);
  static const auto convolution = c10::Dispatcher::singleton()
                                      .findSchemaOrThrow("mkldnn::_convolution_pointwise", "")
                                      .typed<Signature>();
  return convolution.call(input, weight, bias, padding, stride, {1, 1}, 1, "none",
                          c10::List<std::optional<at::Scalar>>(), "");
}

// Two weights lie alike where oneDNN describes them by the same bytes.
at::Tensor descriptor_of(const at::Tensor& packed) {
  static const auto descriptor = c10::Dispatcher::singleton()
                                     .findSchemaOrThrow("mkldnn::_get_mkldnn_serialized_md", "")
                                     .typed<at::Tensor(const at::Tensor&)>();
  return descriptor.call(packed);
}

bool can_pack(at::ScalarType dtype) {
  c10::Dispatcher& dispatcher = c10::Dispatcher::singleton();
  if (!at::globalContext().userEnabledMkldnn() ||
      !dispatcher.findSchema({"mkldnn::_convolution_pointwise", ""}) ||
      !dispatcher.findSchema({"mkldnn::_get_mkldnn_serialized_md", ""})) {
    return false;
  }
  if (dtype == at::kFloat) return true;
  const auto supports_bfloat16 = dispatcher.findSchema({"mkldnn::_is_mkldnn_bf16_supported", ""});
  return dtype == at::kBFloat16 && supports_bfloat16 && supports_bfloat16->typed<bool()>().call();
}

// `input` between the neighbours' rows, with zeros for a row that is asked for and not there.
at::Tensor between_rows(const at::Tensor& input, const Neighbours& halo, std::int64_t rows_above,
                        std::int64_t rows_below) {
  const std::int64_t rows = input.size(2);
  at::Tensor padded =
      at::empty({input.size(0), input.size(1), rows_above + rows + rows_below, input.size(3)},
                input.options(), at::MemoryFormat::ChannelsLast);
  const auto fill = [&](const std::vector<at::Tensor>& source, std::int64_t row) {
    at::Tensor target = padded.narrow(2, row, 1);
    if (source.empty()) {
      target.zero_();
    } else {
      target.copy_(source.front());
    }
  };
  if (rows_above > 0) fill(halo.above, 0);
  padded.narrow(2, rows_above, rows).copy_(input);
  if (rows_below > 0) fill(halo.below, rows_above + rows);
  return padded;
}

}  // namespace

Kernel3x3::Kernel3x3(const WeightScope& weights, std::int64_t in, std::int64_t out,
                     std::int64_t stride)
    : bias_(weights.take("bias", {out})), stride_(stride) {
  at::Tensor weight = weights.take("weight", {out, in, 3, 3});
  if (can_pack(weight.scalar_type())) {
    packed_ = std::make_unique<Packed>();
    packed_->dense = std::move(weight);
  } else {
    weight_ = std::move(weight);
  }
}

at::Tensor Kernel3x3::packed_weight(const at::Tensor& input, std::int64_t vertical_padding) const {
  const std::lock_guard lock(packed_->mutex);
  const InputSize size = {input.size(0), input.size(2), input.size(3), vertical_padding};
  const auto known = packed_->layout_of.find(size);
  if (known != packed_->layout_of.end()) return packed_->layouts[known->second].weight;

  const c10::InferenceMode ordinary_tensors(false);
  std::vector<Layout>& layouts = packed_->layouts;
  const at::Tensor dense = layouts.empty() ? packed_->dense : layouts.front().weight.to_dense();
  const at::Tensor weight = at::mkldnn_reorder_conv2d_weight(
      dense.to_mkldnn(), {vertical_padding, 1}, {stride_, stride_}, {1, 1}, 1, input.sizes());
  const at::Tensor descriptor = descriptor_of(weight);
  const auto same = std::find_if(layouts.begin(), layouts.end(), [&](const Layout& layout) {
    return at::equal(layout.descriptor, descriptor);
  });
  packed_->layout_of[size] = static_cast<std::size_t>(same - layouts.begin());
  if (same != layouts.end()) return same->weight;
  packed_->dense.reset();
  layouts.push_back({descriptor, weight});
  return weight;
}

at::Tensor Kernel3x3::operator()(const at::Tensor& input, std::int64_t vertical_padding) const {
  const std::int64_t padding[] = {vertical_padding, 1};
  const std::int64_t stride[] = {stride_, stride_};
  const at::Tensor output = packed_ ? convolve_packed(input, packed_weight(input, vertical_padding),
                                                      bias_, padding, stride)
                                    : at::conv2d(input, weight_, bias_, stride, padding);
  return output.contiguous(at::MemoryFormat::ChannelsLast);
}

Conv3x3::Conv3x3(const WeightScope& weights, std::int64_t in, std::int64_t out, int stride,
                 int level, SiteRegistry& sites)
    : kernel_(weights, in, out, stride),
      // A band begins on an even row wherever there is a level below, so that the last of its rows
      // that a stride of 2 reads is its own.
      site_(sites.add({weights.path(), SiteKind::halo, level, in, 1, stride == 1 ? 1 : 0})) {}

at::Tensor Conv3x3::operator()(const at::Tensor& input, PatchContext& context) const {
  const at::Tensor dense = input.contiguous(at::MemoryFormat::ChannelsLast);
  const Neighbours halo = context.exchange_halo(site_, dense);
  if (halo.above.empty() && halo.below.empty()) return kernel_(dense, 1);
  return kernel_(between_rows(dense, halo, 1, 1), 0);
}

ConvIn::ConvIn(const WeightScope& weights, std::int64_t in, std::int64_t out)
    : kernel_(weights, in, out, 1) {}

at::Tensor ConvIn::operator()(const at::Tensor& input, bool above, bool below) const {
  const at::Tensor dense = input.contiguous(at::MemoryFormat::ChannelsLast);
  if (!above && !below) return kernel_(dense, 1);
  if (above && below) return kernel_(dense, 0);
  return kernel_(between_rows(dense, {}, above ? 0 : 1, below ? 0 : 1), 0);
}

}  // namespace pcpp
