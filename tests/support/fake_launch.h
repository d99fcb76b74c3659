// Kernels for the fake CUDA runtime: work over the host's memory, run when the stream comes to it.
#ifndef PCPP_TESTS_SUPPORT_FAKE_LAUNCH_H_
#define PCPP_TESTS_SUPPORT_FAKE_LAUNCH_H_

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <utility>
#include <vector>

#include "base/cuda.h"
#include "support/elements.h"
#include "support/fake_cuda.h"

namespace pcpp {

inline void launch_fake(const char* name, CUstream_st* stream, std::function<void()> run,
                        std::vector<testing::fake_cuda::Range> ranges = {}) {
  check_cuda(testing::fake_cuda::launch(stream, std::move(run), std::move(ranges)), name);
}

template <typename T>
std::vector<float> floats_at(const T* values, std::int64_t count) {
  return floats_of(std::vector<T>(values, values + count));
}

template <typename T>
void set_all(T* values, const std::vector<float>& floats) {
  for (std::size_t i = 0; i < floats.size(); ++i) set(values[i], floats[i]);
}

}  // namespace pcpp

#endif  // PCPP_TESTS_SUPPORT_FAKE_LAUNCH_H_
