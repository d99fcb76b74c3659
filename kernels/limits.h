// What GPUs' kernels of any kind take.
#ifndef PCPP_KERNELS_LIMITS_H_
#define PCPP_KERNELS_LIMITS_H_

#include <cstdint>

namespace pcpp {

// The largest batch: the last two extents of a grid.
inline constexpr std::int64_t kMostBatch = 65535;

}  // namespace pcpp

#endif  // PCPP_KERNELS_LIMITS_H_
