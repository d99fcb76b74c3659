#include "pipeline/guidance.h"

#include <ATen/TensorOperators.h>

#include <array>
#include <cstdint>

namespace pcpp {

at::Tensor guided(const at::Tensor& unconditional, const at::Tensor& conditional, double scale) {
  return unconditional + scale * (conditional - unconditional);
}

at::Tensor rescaled(const at::Tensor& guided, const at::Tensor& conditional, double rescale) {
  constexpr std::array<std::int64_t, 3> kOfAnImage = {1, 2, 3};
  const auto deviation = [&](const at::Tensor& noise) {
    return noise.std(kOfAnImage, /*correction=*/1, /*keepdim=*/true);
  };
  return guided * (rescale * deviation(conditional) / deviation(guided) + (1 - rescale));
}

}  // namespace pcpp
