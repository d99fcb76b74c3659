#include "kernels/device.h"
#include "kernels/encode_rows.h"

namespace pcpp {

namespace {

constexpr int kWarps = kThreads / kWarp;
constexpr int kScaleBytes = sizeof(float);
constexpr float kLevels = 127;
constexpr float kLeastScale = 1.17549435e-38F;  // the least that is not denormal

// Encoded rows are not aligned.
template <typename T>
__device__ void store_bytes(T value, std::byte* target) {
  const auto* bytes = reinterpret_cast<const std::byte*>(&value);
  for (int i = 0; i < static_cast<int>(sizeof(T)); ++i) target[i] = bytes[i];
}

template <typename T>
__device__ T load_bytes(const std::byte* source) {
  T value;
  auto* bytes = reinterpret_cast<std::byte*>(&value);
  for (int i = 0; i < static_cast<int>(sizeof(T)); ++i) bytes[i] = source[i];
  return value;
}

// One encoded block of one row of one item: what a warp works on.
struct EncodedBlock {
  __device__ EncodedBlock(std::int64_t rows, int values)
      : lane(static_cast<int>(threadIdx.x) % kWarp) {
    const int blocks = static_cast<int>((values + kEncodedBlock - 1) / kEncodedBlock);
    const std::int64_t number =
        static_cast<std::int64_t>(blockIdx.x) * kWarps + static_cast<int>(threadIdx.x) / kWarp;
    row = number / blocks;
    exists = row < rows;
    const auto block = static_cast<int>(number % blocks);
    first = block * static_cast<int>(kEncodedBlock);
    count = min(static_cast<int>(kEncodedBlock), values - first);
    value = row * values + first;
    byte = row * (values + blocks * kScaleBytes) + first + block * kScaleBytes;
  }
  int lane;
  bool exists;
  std::int64_t row;
  int first;           // of its values in the row
  int count;           // of its values
  std::int64_t value;  // of the first one in the item
  std::int64_t byte;   // of its scale in the encoded item
};

template <typename T>
__global__ void __launch_bounds__(kThreads)
    encode(std::byte* encoded, std::int64_t encoded_stride, const std::byte* source,
           std::int64_t source_stride, std::int64_t rows, int values) {
  const EncodedBlock block(rows, values);
  if (!block.exists) return;  // its whole warp
  const T* input = reinterpret_cast<const T*>(source + blockIdx.y * source_stride) + block.value;
  std::byte* output = encoded + blockIdx.y * encoded_stride + block.byte;
  float largest = 0;
  float poison = 0;  // not a number where a value is not finite
  for (int i = block.lane; i < block.count; i += kWarp) {
    const float value = as_float(input[i]);
    largest = max(largest, fabsf(value));
    poison += value * 0;
  }
  for (int distance = kWarp / 2; distance > 0; distance /= 2) {
    largest = max(largest, __shfl_xor_sync(0xFFFFFFFFU, largest, distance));
    poison += __shfl_xor_sync(0xFFFFFFFFU, poison, distance);
  }
  const float scale = largest / kLevels + poison;
  if (block.lane == 0) store_bytes(scale, output);
  const bool has_values = scale > kLeastScale;  // else zeros, or not finite
  for (int i = block.lane; i < block.count; i += kWarp) {
    const int level = has_values ? static_cast<int>(rintf(as_float(input[i]) / scale)) : 0;
    output[kScaleBytes + i] = static_cast<std::byte>(static_cast<signed char>(level));
  }
}

template <typename T>
__global__ void __launch_bounds__(kThreads)
    decode(T* output, const std::byte* encoded, std::int64_t rows, int values) {
  const EncodedBlock block(rows, values);
  if (!block.exists) return;
  const std::byte* input = encoded + block.byte;
  const auto scale = load_bytes<float>(input);
  for (int i = block.lane; i < block.count; i += kWarp) {
    const auto level = static_cast<signed char>(input[kScaleBytes + i]);
    set_rounded(output[block.value + i], static_cast<float>(level) * scale);
  }
}

__global__ void __launch_bounds__(kThreads)
    encode_pairs(std::byte* encoded, std::int64_t encoded_stride, const std::byte* moments,
                 std::int64_t stride, std::int64_t count) {
  const std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (i >= count) return;
  const auto* pair = reinterpret_cast<const double*>(moments + blockIdx.y * stride) + 2 * i;
  std::byte* target = encoded + blockIdx.y * encoded_stride + i * kEncodedMomentsBytes;
  const double variance = pair[1] - pair[0] * pair[0];
  Float16 halves[2];
  set_rounded(halves[0], static_cast<float>(pair[0]));
  set_rounded(halves[1], static_cast<float>(sqrt(variance < 0 ? 0.0 : variance)));
  store_bytes(halves[0], target);
  store_bytes(halves[1], target + sizeof(Float16));
}

__global__ void __launch_bounds__(kThreads)
    decode_pairs(double* moments, const std::byte* encoded, std::int64_t count) {
  const std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (i >= count) return;
  const std::byte* source = encoded + i * kEncodedMomentsBytes;
  const double mean = as_float(load_bytes<Float16>(source));
  const double deviation = as_float(load_bytes<Float16>(source + sizeof(Float16)));
  moments[2 * i] = mean;
  moments[2 * i + 1] = mean * mean + deviation * deviation;
}

// For kernels in which a warp works on an encoded block.
unsigned blocks_for(std::int64_t rows, std::int64_t values) {
  return static_cast<unsigned>(divide_up(rows * divide_up(values, kEncodedBlock), kWarps));
}

unsigned blocks_for(std::int64_t count) {
  return static_cast<unsigned>(divide_up(count, kThreads));
}

}  // namespace

template <typename T>
void encode_rows(const EncodedRows& target, const SourceRows<T>& source, std::int64_t batch,
                 std::int64_t count, std::int64_t values, CUstream_st* stream) {
  if (batch * count * values == 0) return;
  launch("encode_rows", encode<T>, dim3(blocks_for(count, values), static_cast<unsigned>(batch)),
         stream, target.data, target.stride, reinterpret_cast<const std::byte*>(source.data),
         source.stride, count, static_cast<int>(values));
}

template <typename T>
void decode_rows(T* rows, const std::byte* encoded, std::int64_t count, std::int64_t values,
                 CUstream_st* stream) {
  if (count * values == 0) return;
  launch("decode_rows", decode<T>, dim3(blocks_for(count, values)), stream, rows, encoded, count,
         static_cast<int>(values));
}

void encode_moments(const EncodedRows& target, const SourceRows<double>& source, std::int64_t batch,
                    std::int64_t count, CUstream_st* stream) {
  if (batch * count == 0) return;
  launch("encode_moments", encode_pairs, dim3(blocks_for(count), static_cast<unsigned>(batch)),
         stream, target.data, target.stride, reinterpret_cast<const std::byte*>(source.data),
         source.stride, count);
}

void decode_moments(double* moments, const std::byte* encoded, std::int64_t count,
                    CUstream_st* stream) {
  if (count == 0) return;
  launch("decode_moments", decode_pairs, dim3(blocks_for(count)), stream, moments, encoded, count);
}

#define PCPP_FOR_ELEMENT(T)                                                                       \
  template void encode_rows(const EncodedRows&, const SourceRows<T>&, std::int64_t, std::int64_t, \
                            std::int64_t, CUstream_st*);                                          \
  template void decode_rows(T*, const std::byte*, std::int64_t, std::int64_t, CUstream_st*);
PCPP_FOR_ELEMENT(float)
PCPP_FOR_ELEMENT(Float16)
PCPP_FOR_ELEMENT(Bfloat16)
#undef PCPP_FOR_ELEMENT

}  // namespace pcpp
