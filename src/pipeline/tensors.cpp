#include "pipeline/tensors.h"

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/randn.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>

#include "base/check.h"

namespace pcpp {

at::Tensor to_tensor(const FloatTensor& source, const char* name) {
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
  at::Tensor result = at::empty(source.shape, at::kFloat);
  std::copy(source.values.begin(), source.values.end(), result.mutable_data_ptr<float>());
  return result;
}

FloatTensor to_host(const at::Tensor& source) {
  const at::Tensor dense = source.to(at::kCPU, at::kFloat).contiguous();
  const auto* values = dense.const_data_ptr<float>();
  return {dense.sizes().vec(), {values, values + dense.numel()}};
}

at::Tensor standard_normal(std::uint64_t seed, at::IntArrayRef shape) {
  at::Generator generator = at::detail::createCPUGenerator(seed);
  return at::randn(shape, generator, at::kFloat);
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
