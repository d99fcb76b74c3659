// Weights for tests of operators and networks, without files.
#ifndef PCPP_TESTS_SUPPORT_RANDOM_WEIGHTS_H_
#define PCPP_TESTS_SUPPORT_RANDOM_WEIGHTS_H_

#include <ATen/core/Tensor.h>

#include <cmath>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "ops/weight_scope.h"
#include "support/tensors.h"

namespace pcpp {

// Seeded float32 tensors by name. Outlives the scopes that it gives.
class RandomWeights {
 public:
  explicit RandomWeights(std::uint64_t seed) : seed_(seed) {}

  // Normal numbers of a size that keeps a layer's outputs near 1: divided by the square root of
  // the elements of one output; those of one dimension around `mean`.
  void add(const std::string& name, const std::vector<std::int64_t>& shape, double mean = 0) {
    at::Tensor values = random_tensor(seed_++, shape);
    const auto inputs = static_cast<double>(values.numel() / shape.front());
    tensors_[name] = shape.size() > 1 ? values / std::sqrt(inputs) : values * 0.5 + mean;
  }

  const at::Tensor& at(const std::string& name) const { return tensors_.at(name); }

  WeightScope scope(at::ScalarType dtype = at::kFloat) const {
    std::map<std::string, TensorView> views;
    for (const auto& [name, tensor] : tensors_) {
      const auto* data = static_cast<const std::byte*>(tensor.const_data_ptr());
      views[name] = {DType::f32, tensor.sizes().vec(), std::span(data, tensor.nbytes())};
    }
    return {std::move(views), "random weights", dtype};
  }

 private:
  std::uint64_t seed_;
  std::map<std::string, at::Tensor> tensors_;
};

}  // namespace pcpp

#endif  // PCPP_TESTS_SUPPORT_RANDOM_WEIGHTS_H_
