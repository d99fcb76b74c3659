#include "pipeline/tensors.h"

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/_upsample_bicubic2d_aa.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include "base/check.h"

namespace pcpp {

namespace {

constexpr int kMaskedLuma = 128;

// [1, 3, height, width] in [0, 1]
at::Tensor resized(const Image& image, std::int64_t height, std::int64_t width,
                   const std::stop_token& stop) {
  auto* data = const_cast<std::uint8_t*>(image.rgb.data());  // NOLINT: the tensor is only read
  const at::Tensor bytes = at::from_blob(data, {1, image.height, image.width, 3}, at::kByte);
  std::vector<at::Tensor> channels;  // one by one: the largest picture's floats take gigabytes
  for (const at::Tensor& channel : bytes.unbind(3)) {
    check_not_stopped(stop);
    at::Tensor pixels = channel.unsqueeze(1).to(at::kFloat).div_(255);
    if (image.height != height || image.width != width) {
      pixels = at::_upsample_bicubic2d_aa(pixels, {height, width}, false).clamp_(0, 1);
    }
    channels.push_back(std::move(pixels));
  }
  return at::cat(channels, 1);
}

}  // namespace

void check_tensor(const FloatTensor& source, const char* name) {
  const auto values = static_cast<std::int64_t>(source.values.size());
  std::int64_t elements = 1;
  for (const std::int64_t extent : source.shape) {
    check<ConfigError>(extent > 0, "{} has an extent of {}: all must be positive", name, extent);
    check<ConfigError>(extent <= values / elements,
                       "{} has {} values, fewer than its shape of {} holds", name, values,
                       fmt::join(source.shape, " x "));
    elements *= extent;
  }
  check<ConfigError>(elements == values, "{} has {} values where its shape of {} holds {}", name,
                     values, fmt::join(source.shape, " x "), elements);
  const auto odd =
      std::ranges::find_if_not(source.values, [](float value) { return std::isfinite(value); });
  check<ConfigError>(odd == source.values.end(),
                     "{} holds {} at place {}: all values must be finite", name,
                     odd == source.values.end() ? 0 : *odd, odd - source.values.begin());
}

at::Tensor to_tensor(const FloatTensor& source, const char* name) {
  check_tensor(source, name);
  at::Tensor result = at::empty(source.shape, at::kFloat);
  std::copy(source.values.begin(), source.values.end(), result.mutable_data_ptr<float>());
  return result;
}

FloatTensor to_host(const at::Tensor& source) {
  const at::Tensor dense = source.to(at::kCPU, at::kFloat).contiguous();
  const auto* values = dense.const_data_ptr<float>();
  return {dense.sizes().vec(), {values, values + dense.numel()}};
}

StandardNormal::StandardNormal(const std::vector<std::uint64_t>& seeds) {
  for (const std::uint64_t seed : seeds) {
    generators_.push_back(at::detail::createCPUGenerator(seed));
  }
}

at::Tensor StandardNormal::draw(at::IntArrayRef shape) {
  at::Tensor values = at::empty(shape, at::kFloat);
  draw_into(values);
  return values;
}

void StandardNormal::draw_into(const at::Tensor& values) {
  const std::vector<at::Tensor> parts = values.chunk(std::ssize(generators_));
  for (std::size_t i = 0; i < generators_.size(); ++i) parts.at(i).normal_(0, 1, generators_[i]);
}

at::Tensor to_pixels(const Image& image, std::int64_t height, std::int64_t width,
                     const std::stop_token& stop) {
  return resized(image, height, width, stop).mul_(2).sub_(1);
}

at::Tensor to_mask(const Image& image, std::int64_t height, std::int64_t width,
                   const std::stop_token& stop) {
  const std::vector<at::Tensor> rgb =
      resized(image, height, width, stop).mul_(255).round_().to(at::kInt).split(1, 1);
  // Luma of ITU-R BT.601 in 65536ths, rounded, as Pillow has it.
  const at::Tensor luma = 19595 * rgb[0] + 38470 * rgb[1] + 7471 * rgb[2] + 32768;
  return luma.ge(kMaskedLuma * 65536).to(at::kFloat);
}

Image to_image(const at::Tensor& decoded) {
  const at::Tensor bytes = (decoded.to(at::kFloat) / 2 + 0.5)
                               .clamp(0, 1)
                               .mul(255)
                               .round()
                               .to(at::kByte)
                               .permute({1, 2, 0})
                               .contiguous()
                               .to(at::kCPU);
  const auto* data = bytes.const_data_ptr<std::uint8_t>();
  return {static_cast<int>(bytes.size(1)),
          static_cast<int>(bytes.size(0)),
          {data, data + bytes.numel()}};
}

}  // namespace pcpp
