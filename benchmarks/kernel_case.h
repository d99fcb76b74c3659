// What bench_kernels times: a kernel of the library beside what libtorch has for the same.
#ifndef PCPP_BENCHMARKS_KERNEL_CASE_H_
#define PCPP_BENCHMARKS_KERNEL_CASE_H_

#include <ATen/core/Tensor.h>

#include <functional>
#include <string>
#include <vector>

namespace pcpp::benchmarks {

// One case with its inputs in memory. Both functions compute the same.
struct KernelRun {
  std::function<at::Tensor()> ours;
  std::function<at::Tensor()> libtorch;
  // The matrix products alone that both need, by libtorch, without what is between them.
  std::function<void()> products;
  double flops = 0;           // of the products
  double relative_bound = 0;  // of the difference between the two results, in the 2-norm
};

struct KernelCase {
  std::string kernel;
  std::string shape;
  std::string dtype;
  std::function<KernelRun()> prepare;
};

std::vector<KernelCase> attention_cases();
std::vector<KernelCase> convolution_cases();

}  // namespace pcpp::benchmarks

#endif  // PCPP_BENCHMARKS_KERNEL_CASE_H_
