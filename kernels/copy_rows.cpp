#include "kernels/copy_rows.h"

#include <cstring>
#include <span>

namespace pcpp {

void copy_rows(const RowCopy* copies, std::size_t count) {
  for (const RowCopy& copy : std::span(copies, count)) {
    if (copy.bytes == 0) continue;
    for (std::int64_t item = 0; item < copy.batch; ++item) {
      std::memcpy(copy.target + item * copy.target_stride, copy.source + item * copy.source_stride,
                  static_cast<std::size_t>(copy.bytes));
    }
  }
}

}  // namespace pcpp
