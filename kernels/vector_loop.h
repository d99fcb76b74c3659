// What loops over elements share that the compiler is to make vector code of. For the sources of
// kernels alone.
#ifndef PCPP_KERNELS_VECTOR_LOOP_H_
#define PCPP_KERNELS_VECTOR_LOOP_H_

#include <bit>
#include <cstdint>

#include "kernels/bfloat16.h"

// One clone of a loop for each vector width, chosen when the program is loaded. Sanitizers cannot
// run so early.
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && \
    !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define PCPP_VECTOR_CLONES \
  __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define PCPP_VECTOR_CLONES
#endif
#define PCPP_INLINE inline __attribute__((always_inline))

namespace pcpp {

PCPP_INLINE float to_float(float value) { return value; }
PCPP_INLINE float to_float(Bfloat16 value) {
  return std::bit_cast<float>(static_cast<std::uint32_t>(value.bits) << 16);
}

PCPP_INLINE void store(float value, float* target) { *target = value; }
PCPP_INLINE void store(float value, Bfloat16* target) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  const std::uint32_t rounded = (bits + 0x7FFFU + ((bits >> 16) & 1U)) >> 16;
  target->bits = static_cast<std::uint16_t>(value != value ? 0x7FC0U : rounded);
}

// e^x for x in [-87, 87], to 1e-7 relative: 2^n * e^r with |r| <= ln(2) / 2, e^r by its Taylor
// polynomial. Without branches or calls, so that loops over it become vector code.
PCPP_INLINE float exponential(float x) {
  constexpr float kRound = 12582912.0F;  // 1.5 * 2^23: adding it leaves an integer in the low bits
  const float shifted = x * 1.44269504F + kRound;
  const float n = shifted - kRound;
  const float r = (x - n * 0.693359375F) + n * 2.12194440e-4F;  // ln(2) in two parts
  float p = 1.0F / 5040;
  p = p * r + 1.0F / 720;
  p = p * r + 1.0F / 120;
  p = p * r + 1.0F / 24;
  p = p * r + 1.0F / 6;
  p = p * r + 0.5F;
  p = p * r + 1.0F;
  p = p * r + 1.0F;
  const std::uint32_t exponent = (std::bit_cast<std::uint32_t>(shifted) << 23) + (127U << 23);
  return p * std::bit_cast<float>(exponent);
}

}  // namespace pcpp

#endif  // PCPP_KERNELS_VECTOR_LOOP_H_
