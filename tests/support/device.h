// Device memory for tests of kernels, by the CUDA runtime's calls: a GPU's, or the emulated
// toolkit's.
#ifndef PCPP_TESTS_SUPPORT_DEVICE_H_
#define PCPP_TESTS_SUPPORT_DEVICE_H_

#include <cuda_runtime.h>
#include <gtest/gtest.h>

#include <cstddef>
#include <filesystem>
#include <stdexcept>
#include <string>
#include <vector>

namespace pcpp {

inline void check_cuda(cudaError_t error) {
  if (error != cudaSuccess) throw std::runtime_error(cudaGetErrorString(error));
}

// A test that needs a device; skipped, with the reason, where there is none.
class DeviceTest : public testing::Test {
 protected:
  void SetUp() override {
    int devices = 0;
    const cudaError_t error = cudaGetDeviceCount(&devices);
    ASSERT_TRUE(devices > 0 || !std::filesystem::exists("/dev/nvidiactl"))
        << "there is a driver without GPUs: " << cudaGetErrorString(error);
    if (error != cudaSuccess) GTEST_SKIP() << "no CUDA device: " << cudaGetErrorString(error);
    if (devices == 0) GTEST_SKIP() << "no CUDA device";
  }
};

// An array in device memory, `offset` elements after an address that is a multiple of 16 bytes.
template <typename T>
class DeviceArray {
 public:
  // Of bytes 0xFF: NaN in every type.
  explicit DeviceArray(std::size_t count, std::size_t offset = 0) : offset_(offset), count_(count) {
    if (offset_ + count_ == 0) return;
    check_cuda(cudaMalloc(&memory_, (offset_ + count_) * sizeof(T)));
    check_cuda(cudaMemset(memory_, 0xFF, (offset_ + count_) * sizeof(T)));
  }

  explicit DeviceArray(const std::vector<T>& values, std::size_t offset = 0)
      : DeviceArray(values.size(), offset) {
    check_cuda(cudaMemcpy(data(), values.data(), count_ * sizeof(T), cudaMemcpyHostToDevice));
  }

  ~DeviceArray() { cudaFree(memory_); }
  DeviceArray(const DeviceArray&) = delete;
  DeviceArray& operator=(const DeviceArray&) = delete;

  T* data() { return static_cast<T*>(memory_) + offset_; }

  // Waits for what was queued.
  std::vector<T> values() {
    check_cuda(cudaDeviceSynchronize());
    std::vector<T> values(count_);
    check_cuda(cudaMemcpy(values.data(), data(), count_ * sizeof(T), cudaMemcpyDeviceToHost));
    return values;
  }

 private:
  void* memory_ = nullptr;
  std::size_t offset_;
  std::size_t count_;
};

}  // namespace pcpp

#endif  // PCPP_TESTS_SUPPORT_DEVICE_H_
