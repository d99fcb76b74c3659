// Vectors of float32 as wide as the level that the including source is compiled for. Sources of
// several levels include it: everything is in an unnamed namespace and calls nothing that other
// sources may hold a copy of, lest the linker keep one level's copy for all.
#ifndef PCPP_KERNELS_VECTORS_H_
#define PCPP_KERNELS_VECTORS_H_

#if defined(__AVX512F__)
#include <immintrin.h>
#endif

#include <cstddef>
#include <cstdint>
#include <utility>

#include "kernels/bfloat16.h"

namespace pcpp {
namespace {

#if defined(__AVX512F__)
inline constexpr std::int64_t kLanes = 16;
// GCC 12 warns of the variants without a mask that they read what is not initialised.
inline constexpr __mmask16 kAllLanes = 0xFFFF;
inline constexpr int kFloor = _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC;
#elif defined(__AVX2__)
inline constexpr std::int64_t kLanes = 8;
#else
inline constexpr std::int64_t kLanes = 4;
#endif

using Floats = float __attribute__((vector_size(4 * kLanes)));
using Bits = std::uint32_t __attribute__((vector_size(4 * kLanes)));
using Halves = std::uint16_t __attribute__((vector_size(2 * kLanes)));

inline Floats all(float value) { return Floats{} + value; }

inline Floats load(const float* source) {
  Floats result;
  __builtin_memcpy(&result, source, sizeof(result));
  return result;
}

inline void store(Floats value, float* target) { __builtin_memcpy(target, &value, sizeof(value)); }

inline void store(Floats value, Bfloat16* target) {
  const Bits bits = reinterpret_cast<Bits>(value);
  const Bits rounded = (bits + 0x7FFFU + ((bits >> 16) & 1U)) >> 16;
  const Bits number = (bits & 0x7FFFFFFFU) > 0x7F800000U ? Bits{} + 0x7FC0U : rounded;  // NaN
  const Halves halves = __builtin_convertvector(number, Halves);
  __builtin_memcpy(&target->bits, &halves, sizeof(halves));
}

// The first `count` elements of T as a vector's bits, or as many as it holds; zeros after them.
// The whole vector is a case of its own because its size is known when compiled.
template <typename Vector, typename T>
Vector load_first(const T* source, std::int64_t count) {
  Vector result{};
  if (count >= static_cast<std::int64_t>(sizeof(Vector) / sizeof(T))) {
    __builtin_memcpy(&result, source, sizeof(result));
  } else {
    __builtin_memcpy(&result, source, static_cast<std::size_t>(count) * sizeof(T));
  }
  return result;
}

// The first elements as float32.
inline Floats load_elements(const float* source, std::int64_t count) {
  return load_first<Floats>(source, count);
}

inline Floats load_elements(const Bfloat16* source, std::int64_t count) {
  const auto halves = load_first<Halves>(source, count);
  return reinterpret_cast<Floats>(__builtin_convertvector(halves, Bits) << 16);
}

template <typename T>
void store_elements(Floats value, T* target, std::int64_t count) {
  if (count >= kLanes) return store(value, target);
  T elements[kLanes];
  store(value, elements);
  __builtin_memcpy(target, elements, static_cast<std::size_t>(count) * sizeof(T));
}

// Pairs of two bfloat16, the first below, rounded to nearest.
inline Floats pair(Floats first, Floats second) {
  const Bits low = reinterpret_cast<Bits>(first) + 0x8000U;
  const Bits high = reinterpret_cast<Bits>(second) + 0x8000U;
  return reinterpret_cast<Floats>((low >> 16) | (high & 0xFFFF0000U));
}

// One step of a transposition: exchanges the lanes with bit `kBit` of one half of the rows for the
// lanes without it of the other half.
template <std::size_t kBit, std::size_t... kLane>
void exchange_lanes(Floats* rows, std::index_sequence<kLane...>) {
  constexpr auto kCount = static_cast<std::size_t>(kLanes);
  for (std::size_t i = 0; i < kCount; ++i) {
    if ((i & kBit) != 0) continue;
    const Floats low = rows[i];
    const Floats high = rows[i + kBit];
    rows[i] = __builtin_shufflevector(low, high,
                                      ((kLane & kBit) == 0 ? kLane : kCount + kLane - kBit)...);
    rows[i + kBit] = __builtin_shufflevector(
        low, high, ((kLane & kBit) == 0 ? kLane + kBit : kCount + kLane)...);
  }
}

inline void transpose(Floats* rows) {
  constexpr auto kAll = std::make_index_sequence<static_cast<std::size_t>(kLanes)>();
  exchange_lanes<1>(rows, kAll);
  exchange_lanes<2>(rows, kAll);
  if constexpr (kLanes > 4) exchange_lanes<4>(rows, kAll);
  if constexpr (kLanes > 8) exchange_lanes<8>(rows, kAll);
}

inline bool any(Bits lanes) {
#if defined(__AVX512F__)
  return _mm512_test_epi32_mask(reinterpret_cast<__m512i>(lanes),
                                reinterpret_cast<__m512i>(lanes)) != 0;
#else
  std::uint32_t bits = 0;
  for (std::int64_t i = 0; i < kLanes; ++i) bits |= lanes[i];
  return bits != 0;
#endif
}

inline Floats larger(Floats a, Floats b) {
#if defined(__AVX512F__)
  return _mm512_maskz_max_ps(kAllLanes, a, b);
#else
  return a > b ? a : b;
#endif
}

// 2^x for x <= 0, to 2e-7 relative, or to 1e-4 where `kShort`; between 0 and 2^-126 below -126. A
// NaN passes. The polynomials are those of least relative error for 2^r, r in [0, 1].
template <bool kShort>
Floats exp2(Floats x) {
#if defined(__AVX512F__)
  const Floats r = _mm512_maskz_reduce_ps(kAllLanes, x, kFloor);
#else
  constexpr float kRound = 12582912.0F;  // 1.5 * 2^23: adding it leaves an integer in the low bits
  x = x < -126.0F ? all(-126.0F) : x;
  const Floats shifted = (x - 0.5F) + kRound;
  const Floats r = x - (shifted - kRound);
#endif
  Floats p;
  if constexpr (kShort) {
    p = 7.802452269e-2F * r + 2.260671554e-1F;
    p = p * r + 6.958335405e-1F;
    p = p * r + 9.999252186e-1F;
  } else {
    p = 1.877576700e-3F * r + 8.989340024e-3F;
    p = p * r + 5.582631812e-2F;
    p = p * r + 2.401536170e-1F;
    p = p * r + 6.931530732e-1F;
    p = p * r + 9.999999251e-1F;
  }
#if defined(__AVX512F__)
  return _mm512_maskz_scalef_ps(kAllLanes, p, x);
#else
  const Bits exponent = (reinterpret_cast<Bits>(shifted) << 23) + (127U << 23);
  return p * reinterpret_cast<Floats>(exponent);
#endif
}

}  // namespace
}  // namespace pcpp

#endif  // PCPP_KERNELS_VECTORS_H_
