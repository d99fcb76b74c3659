#include "kernels/copy_rows.h"

#include <cstring>

namespace pcpp {

void copy_rows(std::byte* target, std::int64_t target_stride, const std::byte* source,
               std::int64_t source_stride, std::int64_t batch, std::int64_t bytes) {
  if (bytes == 0) return;
  for (std::int64_t item = 0; item < batch; ++item) {
    std::memcpy(target + item * target_stride, source + item * source_stride,
                static_cast<std::size_t>(bytes));
  }
}

}  // namespace pcpp
