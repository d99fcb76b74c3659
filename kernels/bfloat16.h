// The 16-bit element type of kernels.
#ifndef PCPP_KERNELS_BFLOAT16_H_
#define PCPP_KERNELS_BFLOAT16_H_

#include <cstdint>

namespace pcpp {

// The upper half of a float32; arithmetic is done in float32 and rounded to nearest, ties to even.
struct Bfloat16 {
  std::uint16_t bits = 0;
};

}  // namespace pcpp

#endif  // PCPP_KERNELS_BFLOAT16_H_
