// Copies a block of rows between two strided arrays.
#ifndef PCPP_KERNELS_COPY_ROWS_H_
#define PCPP_KERNELS_COPY_ROWS_H_

#include <cstddef>
#include <cstdint>

namespace pcpp {

// For each of `batch` items copies `bytes` contiguous bytes from source + i * source_stride to
// target + i * target_stride (strides in bytes). The two must not overlap.
void copy_rows(std::byte* target, std::int64_t target_stride, const std::byte* source,
               std::int64_t source_stride, std::int64_t batch, std::int64_t bytes);

}  // namespace pcpp

#endif  // PCPP_KERNELS_COPY_ROWS_H_
