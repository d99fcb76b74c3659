// What the .cu files share; no other file includes it. They are CUDA C++17 that nvcc compiles for
// GPUs and, against the small toolkit of tests/support/emulated_toolkit, any C++ compiler for the
// tests: so no <<<>>>, no dynamic shared memory, no instructions that only a GPU has.
#ifndef PCPP_KERNELS_DEVICE_H_
#define PCPP_KERNELS_DEVICE_H_

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include <algorithm>
#include <cstdint>
#include <string>

#include "kernels/bfloat16.h"
#include "kernels/float16.h"
#include "pcpp/error.h"

namespace pcpp {

inline constexpr int kWarp = 32;
inline constexpr int kThreads = 256;  // of every block

// Queues `kernel`. Throws DeviceError, with the launcher's `name`, CUDA's reason and a remedy,
// where it cannot be launched.
template <typename... Parameters, typename... Arguments>
void launch(const char* name, void (*kernel)(Parameters...), dim3 blocks, cudaStream_t stream,
            Arguments... arguments) {
  cudaLaunchConfig_t config{};
  config.gridDim = blocks;
  config.blockDim = dim3(kThreads);
  config.stream = stream;
  const cudaError_t error = cudaLaunchKernelEx(&config, kernel, arguments...);
  if (error == cudaSuccess) return;
  cudaGetLastError();  // or the next call that asks would be told of this one
  throw DeviceError(std::string("launching ") + name + " over " + std::to_string(blocks.x) + " x " +
                    std::to_string(blocks.y) + " x " + std::to_string(blocks.z) +
                    " blocks failed: " + cudaGetErrorString(error) +
                    (error == cudaErrorInvalidConfiguration
                         ? ": this is a defect of the library: please report it"
                         : ": the process may no longer be able to use the device: start it again, "
                           "and look at the system's log for the device's own report"));
}

inline std::int64_t divide_up(std::int64_t value, std::int64_t divisor) {
  return (value + divisor - 1) / divisor;
}

// `kWidth` neighbouring elements, moved by one access to memory.
template <typename T, int kWidth>
struct alignas(sizeof(T) * kWidth) Vector {
  T values[kWidth];
};

template <typename T>
inline constexpr int kFullWidth = 16 / static_cast<int>(sizeof(T));

// Whether rows of `elements` elements at each of the pointers (or null) can be moved in vectors.
template <typename T, typename... Pointers>
bool fills_vectors(std::int64_t elements, const Pointers*... pointers) {
  return elements % kFullWidth<T> == 0 &&
         ((reinterpret_cast<std::uintptr_t>(pointers) % 16 == 0) && ...);
}

template <int kWidth, typename T>
__device__ Vector<T, kWidth> load(const T* source) {
  return *reinterpret_cast<const Vector<T, kWidth>*>(source);
}

template <int kWidth, typename T>
__device__ void store(const Vector<T, kWidth>& vector, T* target) {
  *reinterpret_cast<Vector<T, kWidth>*>(target) = vector;
}

// Rows whose loads a thread has under way at once.
inline constexpr int kAtOnce = 4;

// Calls use(row, vector) for the vectors of rows begin, begin + step, ... below `end` of an array
// whose rows lie `stride` elements apart.
template <int kWidth, typename T, typename Use>
__device__ void for_each_row(const T* source, std::int64_t stride, std::int64_t begin,
                             std::int64_t end, int step, Use use) {
  std::int64_t row = begin;
  for (; row + (kAtOnce - 1) * step < end; row += kAtOnce * step) {
    Vector<T, kWidth> vectors[kAtOnce];
    for (int i = 0; i < kAtOnce; ++i) vectors[i] = load<kWidth>(source + (row + i * step) * stride);
    for (int i = 0; i < kAtOnce; ++i) use(row + i * step, vectors[i]);
  }
  for (; row < end; row += step) use(row, load<kWidth>(source + row * stride));
}

__device__ inline float as_float(float value) { return value; }
__device__ inline float as_float(Float16 value) {
  return __half2float(__ushort_as_half(value.bits));
}
__device__ inline float as_float(Bfloat16 value) {
  return __bfloat162float(__ushort_as_bfloat16(value.bits));
}

__device__ inline void set_rounded(float& target, float value) { target = value; }
__device__ inline void set_rounded(Float16& target, float value) {
  target.bits = __half_as_ushort(__float2half_rn(value));
}
__device__ inline void set_rounded(Bfloat16& target, float value) {
  target.bits = __bfloat16_as_ushort(__float2bfloat16_rn(value));
}

// Of the values that the threads of a warp have, which all of them call with.
template <typename T>
__device__ T sum_over_warp(T value) {
  for (int distance = kWarp / 2; distance > 0; distance /= 2) {
    value += __shfl_xor_sync(0xFFFFFFFFU, value, distance);
  }
  return value;
}

// How the threads of a block lie over an array [rows, vectors]: `width` vectors side by side, as
// many rows at once as the threads fill, and `tiles` blocks beside each other.
struct Tiling {
  explicit Tiling(std::int64_t vectors)
      : tiles(static_cast<int>(divide_up(vectors, kLargestWidth))),
        width(static_cast<int>(divide_up(vectors, tiles))) {}

  // Half the threads: what leaves fewest of them idle at the widths of U-Nets.
  static constexpr int kLargestWidth = kThreads / 2;

  int tiles;
  int width;
};

// Where a thread of such a block works in rows of `channels` elements: its first channel, and the
// first of its rows in the block's share, which follow each other at a distance of `rows`.
template <int kWidth>
struct Place {
  __device__ Place(int tile_width, int channels)
      : tile_begin(static_cast<int>(blockIdx.y) * tile_width * kWidth),
        tile_channels(min(tile_width * kWidth, channels - tile_begin)),
        rows(kThreads / tile_width),
        row(static_cast<int>(threadIdx.x) / tile_width),
        channel(static_cast<int>(threadIdx.x) % tile_width * kWidth) {}
  __device__ bool is_idle() const { return row >= rows || channel >= tile_channels; }
  int tile_begin;
  int tile_channels;
  int rows;
  int row;
  int channel;  // within the tile
};

}  // namespace pcpp

#endif  // PCPP_KERNELS_DEVICE_H_
