#ifndef PCPP_TESTS_SUPPORT_EMULATED_TOOLKIT_CUDA_BF16_H_
#define PCPP_TESTS_SUPPORT_EMULATED_TOOLKIT_CUDA_BF16_H_

#include <bit>
#include <cmath>

struct __nv_bfloat16 {
  unsigned short bits;
};

inline __nv_bfloat16 __ushort_as_bfloat16(unsigned short bits) { return {bits}; }
inline unsigned short __bfloat16_as_ushort(__nv_bfloat16 value) { return value.bits; }
inline float __bfloat162float(__nv_bfloat16 value) {
  return std::bit_cast<float>(static_cast<unsigned>(value.bits) << 16);
}
inline __nv_bfloat16 __float2bfloat16_rn(float value) {
  if (std::isnan(value)) return {0x7FFF};
  const auto bits = std::bit_cast<unsigned>(value);
  return {static_cast<unsigned short>((bits + 0x7FFFU + ((bits >> 16) & 1U)) >> 16)};
}

#endif  // PCPP_TESTS_SUPPORT_EMULATED_TOOLKIT_CUDA_BF16_H_
