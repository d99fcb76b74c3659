#include "ops/conv2d.h"

#include <ATen/ops/constant_pad_nd.h>
#include <ATen/ops/conv2d.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/equal.h>
#include <fmt/format.h>

#include <algorithm>
#include <stdexcept>
#include <utility>

#include "base/check.h"
#include "gpu/gpu.h"
#include "kernels/add_image.h"
#include "ops/elements.h"
#include "ops/onednn.h"

namespace pcpp {

namespace {

std::array<std::int64_t, 4> output_size(const at::Tensor& input, std::int64_t out,
                                        std::int64_t stride, at::IntArrayRef padding) {
  const auto steps = [&](std::size_t dimension) {
    return (input.size(static_cast<std::int64_t>(dimension) + 2) + 2 * padding[dimension] - 3) /
               stride +
           1;
  };
  return {input.size(0), out, steps(0), steps(1)};
}

// `sum` plus `image` plus `bias`, in place of `sum`; images are channels-last.
at::Tensor add_on_gpu(at::Tensor& sum, const at::Tensor& image, const at::Tensor& bias) {
  const at::Tensor added = image.contiguous(at::MemoryFormat::ChannelsLast);
  with_gpu_elements(added, [&]<typename T>(const T* elements) {
    add_image(static_cast<T*>(sum.mutable_data_ptr()), elements,
              static_cast<const T*>(bias.const_data_ptr()), sum.size(0) * sum.size(2) * sum.size(3),
              sum.size(1), gpus().stream());
  });
  return sum;
}

}  // namespace

Kernel3x3::Kernel3x3(const WeightScope& weights, std::int64_t in, std::int64_t out,
                     std::int64_t stride, std::int64_t padding)
    : bias_(weights.take("bias", {out})), in_(in), stride_(stride), padding_(padding) {
  at::Tensor weight = weights.take("weight", {out, in, 3, 3});
  if (onednn_serves(weight)) {
    packed_ = std::make_unique<Packed>();
    packed_->dense = std::move(weight);
  } else {
    weight_ =
        on_gpu(weight) ? weight.contiguous(at::MemoryFormat::ChannelsLast) : std::move(weight);
  }
}

at::Tensor Kernel3x3::packed_weight(const at::Tensor& input, std::int64_t vertical_padding) const {
  const std::lock_guard lock(packed_->mutex);
  const InputSize size = {input.size(0), input.size(2), input.size(3), vertical_padding};
  const auto known = packed_->layout_of.find(size);
  if (known != packed_->layout_of.end()) return packed_->layouts[known->second].weight;

  std::vector<Layout>& layouts = packed_->layouts;
  const at::Tensor dense = layouts.empty() ? packed_->dense : layouts.front().weight.to_dense();
  const at::Tensor weight =
      pack_convolution(dense, {vertical_padding, padding_}, {stride_, stride_}, input.sizes());
  const at::Tensor descriptor = layout_of(weight);
  const auto same = std::find_if(layouts.begin(), layouts.end(), [&](const Layout& layout) {
    return at::equal(layout.descriptor, descriptor);
  });
  packed_->layout_of[size] = static_cast<std::size_t>(same - layouts.begin());
  if (same != layouts.end()) return same->weight;
  packed_->dense.reset();
  layouts.push_back({descriptor, weight});
  return weight;
}

Work Kernel3x3::work(const at::Tensor& input, std::int64_t vertical_padding) const {
  const std::int64_t in = input.size(1);
  const auto [batch, out, rows, columns] =
      output_size(input, bias_.size(0), stride_, {vertical_padding, padding_});
  return {.kind = WorkKind::convolution,
          .shape = fmt::format("{}>{} {} columns{}", in, out, columns, stride_ == 1 ? "" : " /2"),
          .amount = static_cast<double>(9 * in * out * batch * rows * columns)};
}

at::Tensor Kernel3x3::operator()(const at::Tensor& input, std::int64_t vertical_padding) const {
  const WorkScope scope("convolution", [&] { return work(input, vertical_padding); });
  if (input.is_meta()) {
    return at::empty(output_size(input, bias_.size(0), stride_, {vertical_padding, padding_}),
                     input.options(), at::MemoryFormat::ChannelsLast);
  }
  const std::int64_t padding[] = {vertical_padding, padding_};
  const std::int64_t stride[] = {stride_, stride_};
  const at::Tensor output =
      packed_
          ? convolve_packed(input, packed_weight(input, vertical_padding), bias_, padding, stride)
          : at::conv2d(input, weight_, adds_bias_ ? bias_ : at::Tensor(), stride, padding);
  return output.contiguous(at::MemoryFormat::ChannelsLast);
}

at::Tensor Kernel3x3::plus(const at::Tensor& addend, Addend use, const at::Tensor& input,
                           std::int64_t vertical_padding) const {
  const WorkScope scope("convolution", [&] { return work(input, vertical_padding); });
  if (input.is_meta()) return addend;
  const std::int64_t padding[] = {vertical_padding, padding_};
  const std::int64_t stride[] = {stride_, stride_};
  if (packed_) {
    const at::Tensor sum = use == Addend::overwritten ? addend : addend.clone();
    add_convolved_packed(sum, input, packed_weight(input, vertical_padding), bias_, padding,
                         stride);
    return sum;
  }
  const bool separate = on_gpu(input);
  at::Tensor output = at::conv2d(input, weight_, separate ? at::Tensor() : bias_, stride, padding)
                          .contiguous(at::MemoryFormat::ChannelsLast);
  return separate ? add_on_gpu(output, addend, bias_) : output.add_(addend);
}

at::Tensor Kernel3x3::release_bias() {
  if (!on_gpu(bias_)) return {};
  adds_bias_ = false;
  return bias_;
}

bool Kernel3x3::fits_winograd() const {
  const at::Tensor& weight = packed_ ? packed_->dense : weight_;
  return stride_ == 1 && weight.is_cpu() && (dtype() == at::kFloat || dtype() == at::kBFloat16);
}

void Kernel3x3::use_winograd(WinogradTile tile) {
  const at::Tensor& dense = packed_ ? packed_->dense : weight_;
  give_back_freed_memory(dense);
  winograd_.emplace(dense, tile);
  packed_.reset();
  weight_.reset();
}

std::optional<WinogradTile> Kernel3x3::winograd_tile() const {
  return winograd_ ? std::optional(winograd_->tile()) : std::nullopt;
}

at::Tensor Kernel3x3::operator()(const at::Tensor& input, const Neighbours& halo) const {
  if (!winograd_) return (*this)(input, 1);
  const WorkScope scope("convolution", [&] { return work(input, 1); });
  const at::Tensor output = at::empty(output_size(input, out(), stride_, {1, padding_}),
                                      input.options(), at::MemoryFormat::ChannelsLast);
  (*winograd_)(input, halo, bias_, {}, output);
  return output;
}

at::Tensor Kernel3x3::plus(const at::Tensor& addend, Addend use, const at::Tensor& input,
                           const Neighbours& halo) const {
  if (!winograd_) return plus(addend, use, input, 1);
  const WorkScope scope("convolution", [&] { return work(input, 1); });
  const at::Tensor sum = use == Addend::overwritten ? addend : at::empty_like(addend);
  (*winograd_)(input, halo, bias_, addend, sum);
  return sum;
}

Conv3x3::Conv3x3(const WeightScope& weights, std::int64_t in, std::int64_t out, int stride,
                 int level, SiteRegistry& sites)
    : name_(weights.path()),
      kernel_(std::make_shared<Kernel3x3>(weights, in, out, stride)),
      // A band begins on an even row wherever there is a level below, so that the last of its rows
      // that a stride of 2 reads is its own.
      site_(sites.add({weights.path(), SiteKind::halo, level, in, 1, stride == 1 ? 1 : 0})) {
  sites.add_convolution({kernel_, level});
}

std::int64_t Conv3x3::padding(const PatchContext& context) const {
  if (kernel_->winograd_tile()) return 0;
  const RowsAround rows = context.rows_around(site_);
  return rows.above + rows.below > 0 ? 1 : 0;
}

Neighbours Conv3x3::exchange(const PaddedRows& input, PatchContext& context) const {
  check<std::logic_error>(input.padding == padding(context),
                          "a convolution was given {} rows of padding and needs {}", input.padding,
                          padding(context));
  Neighbours halo = context.exchange_halo(site_, input.own());
  if (input.padding == 0) return halo;
  const WorkScope scope("join rows", [] { return Work{.kind = WorkKind::exchange}; });
  std::vector<RowPlacement> placements;
  for (const at::Tensor& above : halo.above) placements.push_back({input.above(), above});
  for (const at::Tensor& below : halo.below) placements.push_back({input.below(), below});
  place_rows(placements);
  return {};
}

at::Tensor Conv3x3::operator()(const at::Tensor& input, PatchContext& context) const {
  return (*this)(padded(input, padding(context)), context);
}

at::Tensor Conv3x3::operator()(const PaddedRows& input, PatchContext& context) const {
  const SpanScope scope(name_);
  const Neighbours halo = exchange(input, context);
  return input.padding > 0 ? (*kernel_)(input.image, 0) : (*kernel_)(input.image, halo);
}

at::Tensor Conv3x3::plus(const at::Tensor& addend, Addend use, const PaddedRows& input,
                         PatchContext& context) const {
  const SpanScope scope(name_);
  const Neighbours halo = exchange(input, context);
  return input.padding > 0 ? kernel_->plus(addend, use, input.image, 0)
                           : kernel_->plus(addend, use, input.image, halo);
}

DownConv3x3::DownConv3x3(const WeightScope& weights, std::int64_t in, std::int64_t out, int level,
                         SiteRegistry& sites)
    : name_(weights.path()),
      kernel_(std::make_shared<Kernel3x3>(weights, in, out, 2, 0)),
      site_(sites.add({weights.path(), SiteKind::halo, level, in, 0, 1})) {
  sites.add_convolution({kernel_, level});
}

at::Tensor DownConv3x3::operator()(const at::Tensor& input, PatchContext& context) const {
  const SpanScope scope(name_);
  const Neighbours halo = context.exchange_halo(site_, input);
  const at::Tensor padded = at::constant_pad_nd(input, {0, 1, 0, 1});
  for (const at::Tensor& below : halo.below) {
    padded.narrow(2, input.size(2), 1).narrow(3, 0, input.size(3)).copy_(below);
  }
  return (*kernel_)(padded.contiguous(at::MemoryFormat::ChannelsLast), 0);
}

ConvIn::ConvIn(const WeightScope& weights, std::int64_t in, std::int64_t out)
    : name_(weights.path()), kernel_(weights, in, out, 1) {}

at::Tensor ConvIn::operator()(const at::Tensor& input, bool above, bool below) const {
  const SpanScope scope(name_);
  const at::Tensor dense = input.contiguous(at::MemoryFormat::ChannelsLast);
  if (!above && !below) return kernel_(dense, 1);
  if (above && below) return kernel_(dense, 0);
  const at::Tensor rows = at::constant_pad_nd(dense, {0, 0, above ? 0 : 1, below ? 0 : 1});
  return kernel_(rows.contiguous(at::MemoryFormat::ChannelsLast), 0);
}

}  // namespace pcpp
