#ifndef PCPP_TESTS_SUPPORT_EMULATED_TOOLKIT_CUDA_FP16_H_
#define PCPP_TESTS_SUPPORT_EMULATED_TOOLKIT_CUDA_FP16_H_

#include <bit>

struct __half {
  _Float16 value;
};

inline __half __ushort_as_half(unsigned short bits) { return std::bit_cast<__half>(bits); }
inline unsigned short __half_as_ushort(__half value) {
  return std::bit_cast<unsigned short>(value);
}
inline float __half2float(__half value) { return static_cast<float>(value.value); }
inline __half __float2half_rn(float value) { return {static_cast<_Float16>(value)}; }

#endif  // PCPP_TESTS_SUPPORT_EMULATED_TOOLKIT_CUDA_FP16_H_
