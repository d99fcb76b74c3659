#include "ops/linear.h"

#include <ATen/Parallel.h>
#include <ATen/ops/baddbmm.h>
#include <ATen/ops/bmm.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/linear.h>
#include <fmt/format.h>

#include <algorithm>
#include <stdexcept>

#include "base/check.h"
#include "gpu/gpu.h"
#include "kernels/geglu.h"
#include "kernels/layer_norm.h"
#include "ops/elements.h"
#include "ops/onednn.h"
#include "ops/work.h"

namespace pcpp {

namespace {

// Of a product of Geglu: below the size from which malloc takes fresh pages for every tensor.
constexpr std::int64_t kProductBytes = std::int64_t{1} << 24;
// On a GPU: enough to keep all of it busy.
constexpr std::int64_t kGpuProductBytes = std::int64_t{1} << 28;

// Elements that are worth handing to another thread.
constexpr std::int64_t kGrainElements = std::int64_t{1} << 15;

template <typename T>
void gate_rows(const T* source, const at::Tensor& output) {
  const std::int64_t width = output.size(1);
  auto* target = static_cast<T*>(output.mutable_data_ptr());
  at::parallel_for(0, output.size(0), kGrainElements / width + 1,
                   [&](std::int64_t begin, std::int64_t end) {
                     geglu(source + 2 * begin * width, target + begin * width, end - begin, width);
                   });
}

void gate(const at::Tensor& product, const at::Tensor& output) {
  if (on_gpu(product)) {
    with_gpu_elements(product, [&]<typename T>(const T* source) {
      geglu(source, static_cast<T*>(output.mutable_data_ptr()), output.size(0), output.size(1),
            gpus().stream());
    });
  } else {
    with_cpu_elements(product, [&](const auto* source) { gate_rows(source, output); });
  }
}

// Of a product to `out` elements of each token.
Work work_of(const char* what, const at::Tensor& input, std::int64_t out) {
  return {.kind = WorkKind::linear,
          .shape = fmt::format("{}{}>{}", what, input.size(-1), out),
          .amount = static_cast<double>(input.numel() * out)};
}

}  // namespace

Linear::Linear(const WeightScope& weights, std::int64_t in, std::int64_t out, Bias bias, Kind kind)
    : name_(weights.path()),
      weight_(kind == Kind::linear ? weights.take("weight", {out, in})
                                   : weights.take("weight", {out, in, 1, 1}).reshape({out, in})) {
  if (bias == Bias::yes) bias_ = weights.take("bias", {out});
  pack();
}

Linear::Linear(const WeightScope& first, const WeightScope& second, std::int64_t in,
               std::int64_t out_each, Bias bias)
    : name_(fmt::format("{}+{}", first.path(), second.path().substr(second.path().rfind('.') + 1))),
      weight_(at::cat({first.take("weight", {out_each, in}), second.take("weight", {out_each, in})},
                      0)) {
  if (bias == Bias::yes) {
    bias_ = at::cat({first.take("bias", {out_each}), second.take("bias", {out_each})});
  }
  pack();
}

void Linear::pack() {
  packed_ = onednn_serves(weight_);
  if (packed_) weight_ = pack_linear(weight_);
}

at::Tensor Linear::operator()(const at::Tensor& input) const {
  const WorkScope scope(name_.c_str(), [&] { return work_of("", input, weight_.size(0)); });
  return packed_ ? linear_packed(input, weight_, bias_) : at::linear(input, weight_, bias_);
}

void Linear::write(const at::Tensor& input, at::Tensor& output) const {
  const WorkScope scope(name_.c_str(), [&] { return work_of("", input, weight_.size(0)); });
  const at::Tensor weight = packed_ ? at::Tensor() : weight_.t().expand({input.size(0), -1, -1});
  if (packed_) {
    output.copy_(linear_packed(input, weight_, bias_));
  } else if (bias_.defined()) {
    at::baddbmm_out(output, bias_, input, weight);
  } else {
    at::bmm_out(output, input, weight);
  }
}

Geglu::Geglu(const WeightScope& weights, std::int64_t in, std::int64_t out)
    : product_(weights, in, 2 * out), out_(out) {}

at::Tensor Geglu::operator()(const at::Tensor& input) const {
  const WorkScope scope("geglu", [&] { return work_of("geglu ", input, 2 * out_); });
  at::Tensor output = at::empty({input.size(0), input.size(1), out_}, input.options());
  if (output.is_meta()) return output;
  const at::Tensor source = input.flatten(0, 1);
  const at::Tensor target = output.flatten(0, 1);
  const auto row_bytes =
      2 * out_ * static_cast<std::int64_t>(c10::elementSize(output.scalar_type()));
  const std::int64_t block_bytes = on_gpu(input) ? kGpuProductBytes : kProductBytes;
  const std::int64_t block = std::max<std::int64_t>(1, block_bytes / row_bytes);
  for (std::int64_t row = 0; row < source.size(0); row += block) {
    const std::int64_t rows = std::min(block, source.size(0) - row);
    gate(product_(source.narrow(0, row, rows)).contiguous(), target.narrow(0, row, rows));
  }
  return output;
}

LayerNorm::LayerNorm(const WeightScope& weights, std::int64_t width, double epsilon)
    : name_(weights.path()),
      weight_(weights.take("weight", {width}).to(at::kFloat)),
      bias_(weights.take("bias", {width}).to(at::kFloat)),
      epsilon_(epsilon) {}

at::Tensor LayerNorm::operator()(const at::Tensor& input) const {
  return normalised(input.contiguous(), {});
}

at::Tensor LayerNorm::of_sum(const at::Tensor& tokens, const at::Tensor& addend) const {
  check<std::logic_error>(
      tokens.is_contiguous() && addend.is_contiguous() && tokens.sizes() == addend.sizes(),
      "a sum to be normalised must be of contiguous tokens of one shape");
  return normalised(tokens, addend);
}

at::Tensor LayerNorm::normalised(const at::Tensor& input, const at::Tensor& addend) const {
  const bool sums = addend.defined();
  const WorkScope scope(name_.c_str(), [&] {
    return Work{.kind = WorkKind::normalisation,
                .shape = fmt::format("layer {}{}", input.size(-1), sums ? ", sum" : ""),
                .amount = (sums ? 4 : 2) * static_cast<double>(input.nbytes())};
  });
  at::Tensor output = at::empty(input.sizes(), input.options());
  if (input.is_meta()) return output;
  const std::int64_t width = input.size(-1);
  const std::int64_t count = input.numel() / width;
  const LayerNormalisation normalisation{
      weight_.const_data_ptr<float>(), bias_.const_data_ptr<float>(), static_cast<float>(epsilon_)};
  const auto rows_at = [&]<typename T>(const T* elements, std::int64_t first) {
    NormRows<T> rows{.input = elements + first * width,
                     .output = static_cast<T*>(output.mutable_data_ptr()) + first * width,
                     .width = width};
    if (sums) {
      rows.addend = static_cast<const T*>(addend.const_data_ptr()) + first * width;
      rows.sum = static_cast<T*>(input.mutable_data_ptr()) + first * width;
    }
    return rows;
  };
  if (on_gpu(input)) {
    with_gpu_elements(input, [&](const auto* elements) {
      layer_norm(rows_at(elements, 0), count, normalisation, gpus().stream());
    });
  } else {
    with_cpu_elements(input, [&](const auto* elements) {
      at::parallel_for(0, count, kGrainElements / width + 1,
                       [&](std::int64_t begin, std::int64_t end) {
                         layer_norm(rows_at(elements, begin), end - begin, normalisation);
                       });
    });
  }
  return output;
}

}  // namespace pcpp
