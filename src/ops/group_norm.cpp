#include "ops/group_norm.h"

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>

#include <algorithm>
#include <vector>

#include "base/check.h"
#include "gpu/gpu.h"
#include "kernels/group_norm.h"
#include "ops/elements.h"

namespace pcpp {

namespace {

// Pixels that are worth handing to another thread.
constexpr std::int64_t kGrainPixels = 4 * kSumPixels;

struct Extents {
  explicit Extents(const at::Tensor& input)
      : batch(input.size(0)), pixels(input.size(2) * input.size(3)), channels(input.size(1)) {}
  std::int64_t batch;
  std::int64_t pixels;
  std::int64_t channels;
};

// Of each item of a batch, from a tensor [1 or batch, channels] or none.
template <typename T>
Offset<T> offset_in(const at::Tensor& tensor) {
  if (!tensor.defined()) return {};
  return {static_cast<const T*>(tensor.const_data_ptr()),
          tensor.size(0) > 1 ? tensor.stride(0) : 0};
}

const float* offset_of_item(const at::Tensor& tensor, std::int64_t item) {
  const auto [values, stride] = offset_in<float>(tensor);
  return values == nullptr ? nullptr : values + item * stride;
}

}  // namespace

GroupNorm::GroupNorm(const WeightScope& weights, std::int64_t channels, std::int64_t groups,
                     double epsilon, Activation activation, int level, SiteRegistry& sites)
    : name_(weights.path()),
      weight_(weights.take("weight", {channels}).to(at::kFloat)),
      bias_(weights.take("bias", {channels}).to(at::kFloat)),
      groups_(groups),
      epsilon_(epsilon),
      activation_(activation),
      level_(level),
      site_(sites.add({weights.path(), SiteKind::group_norm, level, groups})) {
  check<CheckpointError>(groups > 0 && channels % groups == 0,
                         "{}: {} channels cannot be normalised in {} groups of equal size",
                         weights.path(), channels, groups);
}

PaddedRows GroupNorm::operator()(const at::Tensor& input, PatchContext& context,
                                 std::int64_t padding, const at::Tensor& offset) const {
  const SpanScope scope(name_);
  Input dense{input.contiguous(at::MemoryFormat::ChannelsLast), {}};
  if (offset.defined()) {
    dense.offset = on_gpu(input) ? offset.contiguous() : offset.to(at::kFloat).contiguous();
  }
  const at::Tensor moments_read = context.exchange_moments(site_, level_, moments(dense));
  PaddedRows output = PaddedRows::around(dense.image, padding);
  normalise(dense, moments_read, output);
  return output;
}

Work GroupNorm::work(const char* part, const at::Tensor& input, int passes) const {
  return {.kind = WorkKind::normalisation,
          .shape = fmt::format("{} {}", part, input.size(1)),
          .amount = passes * static_cast<double>(input.nbytes())};
}

at::Tensor GroupNorm::moments(const Input& input) const {
  const at::Tensor& image = input.image;
  const WorkScope scope("moments", [&] { return work("moments", image, 1); });
  if (image.is_meta()) return at::empty({image.size(0), groups_, 2}, at::kDouble);
  if (on_gpu(image)) return gpu_moments(input);
  const Extents extents(image);
  const std::int64_t chunks = (extents.pixels + kSumPixels - 1) / kSumPixels;
  const std::int64_t values = 2 * groups_;
  std::vector<double> sums(static_cast<std::size_t>(extents.batch * chunks * values));
  with_cpu_elements(image, [&](const auto* elements) {
    at::parallel_for(0, extents.batch * chunks, kGrainPixels / kSumPixels,
                     [&](std::int64_t begin, std::int64_t end) {
                       for (std::int64_t i = begin; i < end; ++i) {
                         const std::int64_t first = i % chunks * kSumPixels;
                         const std::int64_t pixel = i / chunks * extents.pixels + first;
                         group_sums(elements + pixel * extents.channels,
                                    offset_of_item(input.offset, i / chunks),
                                    std::min(kSumPixels, extents.pixels - first), extents.channels,
                                    groups_, sums.data() + i * values);
                       }
                     });
  });
  at::Tensor result = at::empty({extents.batch, groups_, 2}, at::kDouble);
  auto* target = result.mutable_data_ptr<double>();
  const double count = static_cast<double>(extents.pixels * (extents.channels / groups_));
  for (std::int64_t item = 0; item < extents.batch; ++item) {
    for (std::int64_t value = 0; value < values; ++value) {
      double sum = 0;
      for (std::int64_t chunk = 0; chunk < chunks; ++chunk) {
        sum += sums[static_cast<std::size_t>((item * chunks + chunk) * values + value)];
      }
      target[item * values + value] = sum / count;
    }
  }
  return result;
}

at::Tensor GroupNorm::gpu_moments(const Input& input) const {
  const Extents extents(input.image);
  const auto workspace_bytes = static_cast<std::int64_t>(
      group_moments_workspace_bytes(extents.batch, extents.pixels, extents.channels, groups_));
  const at::TensorOptions options = input.image.options();
  const at::Tensor workspace = at::empty({workspace_bytes}, options.dtype(at::kByte));
  at::Tensor result = at::empty({extents.batch, groups_, 2}, options.dtype(at::kDouble));
  with_gpu_elements(input.image, [&]<typename T>(const T* elements) {
    group_moments(elements, offset_in<T>(input.offset), extents.batch, extents.pixels,
                  extents.channels, groups_, static_cast<std::byte*>(workspace.mutable_data_ptr()),
                  result.mutable_data_ptr<double>(), gpus().stream());
  });
  return result;
}

void GroupNorm::gpu_normalise(const Input& input, const at::Tensor& moments,
                              const PaddedRows& output) const {
  const Extents extents(input.image);
  const Normalisation normalisation{moments.const_data_ptr<double>(),
                                    weight_.const_data_ptr<float>(),
                                    bias_.const_data_ptr<float>(),
                                    groups_,
                                    epsilon_,
                                    activation_ == Activation::silu};
  const std::int64_t padding = output.padding * input.image.size(3);
  with_gpu_elements(input.image, [&]<typename T>(const T* elements) {
    group_norm_apply(elements, offset_in<T>(input.offset),
                     static_cast<T*>(output.image.mutable_data_ptr()), extents.batch,
                     extents.pixels, extents.channels, normalisation, padding, gpus().stream());
  });
}

void GroupNorm::normalise(const Input& input, const at::Tensor& moments,
                          const PaddedRows& output) const {
  const at::Tensor& image = input.image;
  const WorkScope scope("normalise", [&] { return work("normalise", image, 2); });
  if (image.is_meta()) return;
  if (on_gpu(image)) return gpu_normalise(input, moments, output);
  const Extents extents(image);
  const auto item_values = static_cast<std::size_t>(3 * extents.channels);
  std::vector<float> values(static_cast<std::size_t>(extents.batch) * item_values);
  std::vector<ChannelCoefficients> coefficients;
  for (std::int64_t item = 0; item < extents.batch; ++item) {
    float* centre = values.data() + static_cast<std::size_t>(item) * item_values;
    float* scale = centre + extents.channels;
    float* shift = scale + extents.channels;
    group_norm_coefficients(moments.const_data_ptr<double>() + item * 2 * groups_,
                            offset_of_item(input.offset, item), weight_.const_data_ptr<float>(),
                            bias_.const_data_ptr<float>(), extents.channels, groups_, epsilon_,
                            centre, scale, shift);
    coefficients.push_back({centre, scale, shift});
  }
  output.above().zero_();
  output.below().zero_();
  const std::int64_t padding = output.padding * image.size(3);
  with_cpu_elements(image, [&]<typename T>(const T* elements) {
    auto* target = static_cast<T*>(output.image.mutable_data_ptr());
    at::parallel_for(
        0, extents.batch * extents.pixels, kGrainPixels, [&](std::int64_t begin, std::int64_t end) {
          while (begin < end) {
            const std::int64_t item = begin / extents.pixels;
            const std::int64_t stop = std::min(end, (item + 1) * extents.pixels);
            const std::int64_t place = begin + (2 * item + 1) * padding;
            group_norm_apply(elements + begin * extents.channels, target + place * extents.channels,
                             stop - begin, extents.channels,
                             coefficients[static_cast<std::size_t>(item)],
                             activation_ == Activation::silu);
            begin = stop;
          }
        });
  });
}

}  // namespace pcpp
