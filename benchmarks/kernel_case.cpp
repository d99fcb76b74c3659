#include "kernel_case.h"

#include <ATen/TensorOperators.h>

namespace pcpp::benchmarks {

std::string name_of(at::ScalarType dtype) {
  switch (dtype) {
    case at::kHalf:
      return "float16";
    case at::kBFloat16:
      return "bfloat16";
    case at::kDouble:
      return "float64";
    default:
      return "float32";
  }
}

at::Tensor by_head(const at::Tensor& tokens, std::int64_t heads) {
  return tokens.unflatten(2, {heads, -1}).transpose(1, 2);
}

double relative_error(const KernelRun& run) {
  const at::Tensor expected = run.libtorch().to(at::kDouble);
  return (run.ours().to(at::kDouble) - expected).norm().item<double>() /
         expected.norm().item<double>();
}

}  // namespace pcpp::benchmarks
