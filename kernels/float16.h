// The other 16-bit element type of kernels.
#ifndef PCPP_KERNELS_FLOAT16_H_
#define PCPP_KERNELS_FLOAT16_H_

#include <cstdint>

namespace pcpp {

// IEEE 754's binary16; arithmetic is done in float32 and rounded to nearest, ties to even.
struct Float16 {
  std::uint16_t bits = 0;
};

}  // namespace pcpp

#endif  // PCPP_KERNELS_FLOAT16_H_
