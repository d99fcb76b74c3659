#include "kernels/device.h"
#include "kernels/encode_rows.h"

namespace pcpp {

namespace {

constexpr int kWarps = kThreads / kWarp;
constexpr int kScaleBytes = sizeof(float);
constexpr float kLeastScale = 1.17549435e-38F;  // the least that is not denormal
constexpr int kBlock = kEncodedBlock;
constexpr int kHeld = kBlock / kWarp;  // values of a block that a lane works on

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

using Held = Vector<float, kHeld>;

struct Levels {
  float scale;
  int values[kHeld];
};

// One encoded block of one row of one item, `kShare` values to a byte: what a warp works on. A lane
// has kNear bytes of it, and holds the value of side s in its byte b at kNear * s + b. With
// `kWhole` all blocks have kBlock values, and a lane's bytes and values are moved at once.
template <int kShare, bool kWhole>
struct EncodedBlock {
  static constexpr int kNear = kHeld / kShare;
  static constexpr float kLevels = kShare == 1 ? 127 : 7;

  __device__ EncodedBlock(std::int64_t rows, int values)
      : lane(static_cast<int>(threadIdx.x) % kWarp) {
    const int blocks = (values + kBlock - 1) / kBlock;
    const std::int64_t number =
        static_cast<std::int64_t>(blockIdx.x) * kWarps + static_cast<int>(threadIdx.x) / kWarp;
    exists = number < rows * blocks;
    if constexpr (kWhole) {
      count = kBlock;
      value = number * kBlock;
      byte = number * (kBlock / kShare + kScaleBytes);
    } else {
      const std::int64_t row = number / blocks;
      const auto block = static_cast<int>(number % blocks);
      count = min(kBlock, values - block * kBlock);
      value = row * values + block * kBlock;
      byte = row * ((values + kShare - 1) / kShare + blocks * kScaleBytes) +
             block * (kBlock / kShare + kScaleBytes);
    }
    side = (count + kShare - 1) / kShare;
  }

  __device__ int place_of(int near) const {
    return kWhole ? kNear * lane + near : lane + kWarp * near;
  }
  __device__ bool holds(int s, int near) const {
    return kWhole || (place_of(near) < side && s * side + place_of(near) < count);
  }

  // Zeros where the lane holds no value.
  template <typename T>
  __device__ Held load_values(const T* values) const {
    Held held{};
    for (int s = 0; s < kShare; ++s) {
      const T* begin = values + value + s * side;
      if constexpr (kWhole) {
        const auto vector = load<kNear>(begin + kNear * lane);
        for (int b = 0; b < kNear; ++b) held.values[kNear * s + b] = as_float(vector.values[b]);
      } else {
        for (int b = 0; b < kNear; ++b) {
          if (holds(s, b)) held.values[kNear * s + b] = as_float(begin[place_of(b)]);
        }
      }
    }
    return held;
  }

  template <typename T>
  __device__ void store_values(const Held& held, T* values) const {
    for (int s = 0; s < kShare; ++s) {
      T* begin = values + value + s * side;
      if constexpr (kWhole) {
        Vector<T, kNear> vector;
        for (int b = 0; b < kNear; ++b) set_rounded(vector.values[b], held.values[kNear * s + b]);
        reinterpret_cast<Vector<T, kNear>*>(begin)[lane] = vector;  // in one store
      } else {
        for (int b = 0; b < kNear; ++b) {
          if (holds(s, b)) set_rounded(begin[place_of(b)], held.values[kNear * s + b]);
        }
      }
    }
  }

  __device__ Levels encode(const Held& held, std::byte* encoded) const {
    float largest = 0;
    float poison = 0;  // not a number where a value is not finite
    for (const float held_value : held.values) {
      largest = max(largest, fabsf(held_value));
      poison += held_value * 0;
    }
    for (int distance = kWarp / 2; distance > 0; distance /= 2) {
      largest = max(largest, __shfl_xor_sync(0xFFFFFFFFU, largest, distance));
      poison += __shfl_xor_sync(0xFFFFFFFFU, poison, distance);
    }
    Levels levels{};
    levels.scale = largest / kLevels + poison;
    if (levels.scale > kLeastScale) {  // else zeros, or not finite
      for (int i = 0; i < kHeld; ++i) {
        levels.values[i] = static_cast<int>(rintf(held.values[i] / levels.scale));
      }
    }
    store_levels(levels, encoded + byte);
    return levels;
  }

  __device__ void store_levels(const Levels& levels, std::byte* encoded) const {
    Vector<std::byte, kNear> bytes;
    for (int b = 0; b < kNear; ++b) {
      unsigned bits = static_cast<unsigned>(levels.values[b]);
      if constexpr (kShare == 2) {
        bits = (bits & 0xFU) | static_cast<unsigned>(levels.values[kNear + b]) << 4;
      }
      bytes.values[b] = static_cast<std::byte>(bits);
    }
    if (lane == 0) store_bytes(levels.scale, encoded);
    encoded += kScaleBytes;
    if constexpr (kWhole) {
      store(bytes, encoded + kNear * lane);
    } else {
      for (int b = 0; b < kNear; ++b) {
        if (holds(0, b)) encoded[place_of(b)] = bytes.values[b];
      }
    }
  }

  __device__ Levels load_levels(const std::byte* encoded) const {
    encoded += byte;
    Levels levels{};
    Vector<std::byte, kNear> bytes{};
    if constexpr (kWhole) {
      levels.scale = *reinterpret_cast<const float*>(encoded);
      bytes = load<kNear>(encoded + kScaleBytes + kNear * lane);
    } else {
      levels.scale = load_bytes<float>(encoded);
      for (int b = 0; b < kNear; ++b) {
        if (holds(0, b)) bytes.values[b] = encoded[kScaleBytes + place_of(b)];
      }
    }
    for (int b = 0; b < kNear; ++b) {
      const auto bits = static_cast<unsigned>(bytes.values[b]);
      if constexpr (kShare == 1) {
        levels.values[b] = static_cast<signed char>(bits);
      } else {
        levels.values[b] = static_cast<signed char>(bits << 4) >> 4;
        levels.values[kNear + b] = static_cast<signed char>(bits) >> 4;
      }
    }
    return levels;
  }

  int lane;
  bool exists;
  int count;           // of its values
  int side;            // of its bytes: values of one side, the last of which may lack its others
  std::int64_t value;  // of the first one in the item
  std::int64_t byte;   // of its scale in the encoded item
};

__device__ Held decoded(const Levels& levels) {
  Held values;
  for (int i = 0; i < kHeld; ++i) {
    values.values[i] = __fmul_rn(static_cast<float>(levels.values[i]), levels.scale);
  }
  return values;
}

// Both ends of a residual add the same to the bit: a compiler may not fuse this with decoded().
__device__ Held sum_of(const Held& last, const Held& residual) {
  Held sum;
  for (int i = 0; i < kHeld; ++i) {
    sum.values[i] = __fadd_rn(last.values[i], residual.values[i]);
  }
  return sum;
}

template <typename T>
__device__ const T* item_at(const std::byte* source, std::int64_t stride) {
  return reinterpret_cast<const T*>(source + blockIdx.y * stride);
}

template <typename T, bool kWhole>
__global__ void __launch_bounds__(kThreads)
    encode(std::byte* encoded, std::int64_t encoded_stride, const std::byte* source,
           std::int64_t source_stride, std::int64_t rows, int values) {
  const EncodedBlock<1, kWhole> block(rows, values);
  if (!block.exists) return;  // its whole warp
  block.encode(block.load_values(item_at<T>(source, source_stride)),
               encoded + blockIdx.y * encoded_stride);
}

template <typename T, bool kWhole>
__global__ void __launch_bounds__(kThreads)
    decode(T* output, const std::byte* encoded, std::int64_t rows, int values) {
  const EncodedBlock<1, kWhole> block(rows, values);
  if (!block.exists) return;
  block.store_values(decoded(block.load_levels(encoded)), output);
}

template <typename T, bool kWhole>
__global__ void __launch_bounds__(kThreads)
    encode_difference(std::byte* encoded, std::int64_t encoded_stride, T* last,
                      const std::byte* source, std::int64_t source_stride, std::int64_t rows,
                      int values) {
  const EncodedBlock<2, kWhole> block(rows, values);
  if (!block.exists) return;
  last += blockIdx.y * rows * values;
  const Held before = block.load_values(last);
  Held difference = block.load_values(item_at<T>(source, source_stride));
  for (int i = 0; i < kHeld; ++i) difference.values[i] -= before.values[i];
  const Levels levels = block.encode(difference, encoded + blockIdx.y * encoded_stride);
  block.store_values(sum_of(before, decoded(levels)), last);
}

template <typename T, bool kWhole>
__global__ void __launch_bounds__(kThreads)
    add_difference(T* last, const std::byte* encoded, std::int64_t rows, int values) {
  const EncodedBlock<2, kWhole> block(rows, values);
  if (!block.exists) return;
  block.store_values(sum_of(block.load_values(last), decoded(block.load_levels(encoded))), last);
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

// Of all addresses at data + i * stride, the bits that some have.
std::uintptr_t bits_of(const void* data, std::int64_t stride = 0) {
  return reinterpret_cast<std::uintptr_t>(data) | static_cast<std::uintptr_t>(stride);
}

// Whether EncodedBlock may be of whole blocks: for 16 bytes of values, and for their bytes.
bool is_whole(std::int64_t values, std::uintptr_t value_bits, std::uintptr_t byte_bits) {
  return values % kBlock == 0 && value_bits % 16 == 0 && byte_bits % kScaleBytes == 0;
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
  const bool whole =
      is_whole(values, bits_of(source.data, source.stride), bits_of(target.data, target.stride));
  launch("encode_rows", whole ? encode<T, true> : encode<T, false>,
         dim3(blocks_for(count, values), static_cast<unsigned>(batch)), stream, target.data,
         target.stride, reinterpret_cast<const std::byte*>(source.data), source.stride, count,
         static_cast<int>(values));
}

template <typename T>
void decode_rows(T* rows, const std::byte* encoded, std::int64_t count, std::int64_t values,
                 CUstream_st* stream) {
  if (count * values == 0) return;
  const bool whole = is_whole(values, bits_of(rows), bits_of(encoded));
  launch("decode_rows", whole ? decode<T, true> : decode<T, false>, dim3(blocks_for(count, values)),
         stream, rows, encoded, count, static_cast<int>(values));
}

template <typename T>
void encode_residual(const EncodedRows& target, T* last, const SourceRows<T>& source,
                     std::int64_t batch, std::int64_t count, std::int64_t values,
                     CUstream_st* stream) {
  if (batch * count * values == 0) return;
  const bool whole = is_whole(values, bits_of(source.data, source.stride) | bits_of(last),
                              bits_of(target.data, target.stride));
  launch("encode_residual", whole ? encode_difference<T, true> : encode_difference<T, false>,
         dim3(blocks_for(count, values), static_cast<unsigned>(batch)), stream, target.data,
         target.stride, last, reinterpret_cast<const std::byte*>(source.data), source.stride, count,
         static_cast<int>(values));
}

template <typename T>
void add_residual(T* last, const std::byte* encoded, std::int64_t count, std::int64_t values,
                  CUstream_st* stream) {
  if (count * values == 0) return;
  const bool whole = is_whole(values, bits_of(last), bits_of(encoded));
  launch("add_residual", whole ? add_difference<T, true> : add_difference<T, false>,
         dim3(blocks_for(count, values)), stream, last, encoded, count, static_cast<int>(values));
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
  template void decode_rows(T*, const std::byte*, std::int64_t, std::int64_t, CUstream_st*);      \
  template void encode_residual(const EncodedRows&, T*, const SourceRows<T>&, std::int64_t,       \
                                std::int64_t, std::int64_t, CUstream_st*);                        \
  template void add_residual(T*, const std::byte*, std::int64_t, std::int64_t, CUstream_st*);
PCPP_FOR_ELEMENT(float)
PCPP_FOR_ELEMENT(Float16)
PCPP_FOR_ELEMENT(Bfloat16)
#undef PCPP_FOR_ELEMENT

}  // namespace pcpp
