#include "kernels/copy_rows.h"

#include <cstring>

namespace pcpp {

void copy_rows(std::span<const RowCopy> copies) {
  for (const RowCopy& copy : copies) {
    if (copy.bytes == 0) continue;
    for (std::int64_t item = 0; item < copy.batch; ++item) {
      std::memcpy(copy.target + item * copy.target_stride, copy.source + item * copy.source_stride,
                  static_cast<std::size_t>(copy.bytes));
    }
  }
}

}  // namespace pcpp
