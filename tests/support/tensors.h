// Tensors for tests: seeded, and compared in float64.
#ifndef PCPP_TESTS_SUPPORT_TENSORS_H_
#define PCPP_TESTS_SUPPORT_TENSORS_H_

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/randn.h>

#include <cstdint>
#include <limits>
#include <optional>

namespace pcpp {

// Standard normal float32 numbers; the same for the same seed and shape.
inline at::Tensor random_tensor(std::uint64_t seed, at::IntArrayRef shape) {
  return at::randn(shape, std::optional<at::Generator>(at::detail::createCPUGenerator(seed)),
                   at::TensorOptions(at::kFloat));
}

// ||actual - expected|| / ||expected|| in float64, infinite where the shapes differ.
inline double relative_error(const at::Tensor& actual, const at::Tensor& expected) {
  if (actual.sizes() != expected.sizes()) return std::numeric_limits<double>::infinity();
  const at::Tensor reference = expected.to(at::kDouble);
  const double error = (actual.to(at::kDouble) - reference).norm().item<double>();
  const double size = reference.norm().item<double>();
  return error == 0 ? 0 : error / size;
}

}  // namespace pcpp

#endif  // PCPP_TESTS_SUPPORT_TENSORS_H_
