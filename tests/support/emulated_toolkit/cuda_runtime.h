// As much of the CUDA toolkit as kernels/*.cu and their tests need, for a C++ compiler: a launch
// runs the kernel on the calling thread, by tests/support/emulation.h, and device memory is the
// host's. Stands before a real toolkit in the include path.
#ifndef PCPP_TESTS_SUPPORT_EMULATED_TOOLKIT_CUDA_RUNTIME_H_
#define PCPP_TESTS_SUPPORT_EMULATED_TOOLKIT_CUDA_RUNTIME_H_

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <source_location>
#include <tuple>

#include "support/emulation.h"

#define __global__
#define __device__
#define __host__
#define __shared__ static
#define __launch_bounds__(threads)

using std::max;
using std::min;
using dim3 = pcpp::emulation::Extent;
using pcpp::emulation::blockDim;
using pcpp::emulation::blockIdx;
using pcpp::emulation::gridDim;
using pcpp::emulation::threadIdx;

inline float __fadd_rn(float a, float b) { return a + b; }
inline float __fmul_rn(float a, float b) { return a * b; }
inline float __fdividef(float dividend, float divisor) { return dividend / divisor; }

inline void __syncthreads(std::source_location place = std::source_location::current()) {
  pcpp::emulation::wait_for_block(place);
}

template <typename T>
T __shfl_xor_sync(unsigned lanes, T value, int distance,
                  std::source_location place = std::source_location::current()) {
  static_assert(sizeof(T) <= sizeof(pcpp::emulation::Payload));
  pcpp::emulation::Payload payload{};
  std::memcpy(&payload, &value, sizeof(T));
  payload = pcpp::emulation::shuffle_xor(lanes, payload, static_cast<unsigned>(distance), place);
  std::memcpy(&value, &payload, sizeof(T));
  return value;
}

enum cudaError_t {
  cudaSuccess = 0,
  cudaErrorMemoryAllocation = 2,
  cudaErrorInvalidConfiguration = 9
};
enum cudaMemcpyKind { cudaMemcpyHostToDevice = 1, cudaMemcpyDeviceToHost = 2 };
using cudaStream_t = struct CUstream_st*;

struct cudaLaunchConfig_t {
  dim3 gridDim;
  dim3 blockDim;
  std::size_t dynamicSmemBytes;
  cudaStream_t stream;
  void* attrs;
  unsigned numAttrs;
};

inline const char* cudaGetErrorString(cudaError_t error) {
  return error == cudaErrorInvalidConfiguration ? "invalid configuration argument" : "other error";
}
inline cudaError_t cudaGetLastError() { return cudaSuccess; }
inline cudaError_t cudaGetDeviceCount(int* count) {
  *count = 1;
  return cudaSuccess;
}
inline cudaError_t cudaDeviceSynchronize() { return cudaSuccess; }

inline cudaError_t cudaMalloc(void** memory, std::size_t bytes) {
  *memory = std::malloc(bytes);
  return *memory == nullptr && bytes > 0 ? cudaErrorMemoryAllocation : cudaSuccess;
}
inline cudaError_t cudaFree(void* memory) {
  std::free(memory);
  return cudaSuccess;
}
inline cudaError_t cudaMemset(void* target, int value, std::size_t bytes) {
  if (bytes > 0) std::memset(target, value, bytes);
  return cudaSuccess;
}
inline cudaError_t cudaMemcpy(void* target, const void* source, std::size_t bytes,
                              cudaMemcpyKind /*kind*/) {
  if (bytes > 0) std::memcpy(target, source, bytes);
  return cudaSuccess;
}

template <typename... Parameters, typename... Arguments>
cudaError_t cudaLaunchKernelEx(const cudaLaunchConfig_t* config, void (*kernel)(Parameters...),
                               Arguments... arguments) {
  const auto run = [grid = config->gridDim, block = config->blockDim, kernel,
                    given = std::tuple<Parameters...>(arguments...)] {
    return pcpp::emulation::run(grid, block, [&] { std::apply(kernel, given); });
  };
  if (!run()) return cudaErrorInvalidConfiguration;
  if (pcpp::emulation::on_launch) pcpp::emulation::on_launch(run);
  return cudaSuccess;
}

#endif  // PCPP_TESTS_SUPPORT_EMULATED_TOOLKIT_CUDA_RUNTIME_H_
