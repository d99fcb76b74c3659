#include "ops/apply_lora.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/kron.h>
#include <ATen/ops/linalg_vector_norm.h>

#include <array>
#include <cstdint>
#include <limits>

#include "ops/read_finite.h"

namespace pcpp {
namespace {

// As a float32 matrix of so many rows.
at::Tensor as_matrix(const TensorView& view, const std::string& name) {
  return read_finite(view, name).to(at::kFloat).flatten(1);
}

at::Tensor matrix_of(const LoraFactor& factor, const std::string& name) {
  at::Tensor left = as_matrix(factor.left, name);
  if (!factor.right) return left;
  if (factor.rank_first) left = left.t();
  const at::Tensor right = as_matrix(*factor.right, name);
  if (!factor.core) return left.matmul(right);
  const std::int64_t rank = right.size(0);
  const at::Tensor core = as_matrix(*factor.core, name).view({rank, rank, -1});
  const at::Tensor inner = right.t().matmul(core);  // [rank, columns of right, of core]
  return left.matmul(inner.flatten(1));
}

at::Tensor product_of(const LoraUpdate& update, const std::string& name) {
  at::Tensor first = matrix_of(update.factors.front(), name);
  if (update.form == LoraForm::lora) return first;
  const at::Tensor second = matrix_of(update.factors.back(), name);
  return update.form == LoraForm::loha ? first.mul_(second) : at::kron(first, second);
}

// `weight`, of whatever length, with the magnitudes in place of its outputs' or inputs' norms.
at::Tensor with_magnitudes(const at::Tensor& weight, const at::Tensor& magnitudes) {
  const at::Tensor rows = weight.view({weight.size(0), weight.size(1), -1});
  const bool of_outputs = magnitudes.size(0) == rows.size(0) && magnitudes.size(1) == 1;
  const std::array<std::int64_t, 2> others = {of_outputs ? 1 : 0, 2};
  // What is zero stays zero.
  const at::Tensor norms = at::linalg_vector_norm(rows, 2, others, /*keepdim=*/true)
                               .clamp_min(std::numeric_limits<float>::epsilon());
  return (rows * (magnitudes.unsqueeze(2) / norms)).view(weight.sizes());
}

}  // namespace

at::Tensor apply_lora(const at::Tensor& weight, const LoraUpdate& update, const std::string& name) {
  const at::Tensor before = weight.to(at::kFloat);
  const at::Tensor product = product_of(update, name).view(weight.sizes());
  if (!update.magnitudes) return before.add(product, update.scale * update.change_scale);
  const at::Tensor magnitudes = as_matrix(*update.magnitudes, name);
  const at::Tensor after = with_magnitudes(before.add(product, update.change_scale), magnitudes);
  return before.lerp(after, update.scale);
}

}  // namespace pcpp
