// What bench_kernels times: a kernel of the library beside what libtorch has for the same.
#ifndef PCPP_BENCHMARKS_KERNEL_CASE_H_
#define PCPP_BENCHMARKS_KERNEL_CASE_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

struct CUstream_st;

namespace pcpp::benchmarks {

// One case with its inputs in memory. Both functions compute the same.
struct KernelRun {
  std::function<at::Tensor()> ours;  // empty where there is nothing to time
  std::function<at::Tensor()> libtorch;
  // The matrix products alone that both need, by libtorch, without what is between them. On a CPU.
  std::function<void()> products;
  double flops = 0;           // of the products
  double bytes = 0;           // on a GPU: read and written, each of inputs and outputs once
  double reread_bytes = 0;    // on a GPU: of an input that is read twice
  double relative_bound = 0;  // of the difference between the two results, in the 2-norm
};

struct KernelCase {
  std::string kernel;
  std::string shape;
  std::string dtype;
  std::function<KernelRun()> prepare;
};

std::string name_of(at::ScalarType dtype);

// [batch, tokens, heads * size] to [batch, heads, tokens, size]
at::Tensor by_head(const at::Tensor& tokens, std::int64_t heads);

// Of our result to libtorch's, in the 2-norm.
double relative_error(const KernelRun& run);

std::vector<KernelCase> attention_cases();
std::vector<KernelCase> convolution_cases();

// Where tensors lie, and the stream on which libtorch computes there.
struct GpuStream {
  GpuStream of(at::ScalarType dtype) const { return {options.dtype(dtype), stream}; }
  at::TensorOptions options;
  CUstream_st* stream = nullptr;
};

std::vector<KernelCase> gpu_cases(const GpuStream& gpu);
std::vector<KernelCase> gpu_row_cases(const GpuStream& gpu);
// libtorch's attention alone: `ours` is that of one of its backends, `libtorch` that of its choice.
std::vector<KernelCase> gpu_attention_cases(const GpuStream& gpu);

}  // namespace pcpp::benchmarks

#endif  // PCPP_BENCHMARKS_KERNEL_CASE_H_
