#include "kernels/copy_rows.h"
#include "kernels/device.h"

namespace pcpp {

namespace {

// What a block copies of an item, at the least.
constexpr std::int64_t kBlockBytes = kThreads * 16 * 4;

// By value, as a kernel's argument.
struct Copies {
  RowCopy copies[kMostRowCopies];
};

template <int kWidth, typename T>
__device__ void copy_elements(const T* source, T* target, std::int64_t count) {
  for_each_row<kWidth>(source, kWidth,
                       static_cast<std::int64_t>(blockIdx.x) * kThreads + threadIdx.x,
                       count / kWidth, static_cast<int>(gridDim.x) * kThreads,
                       [&](std::int64_t row, const Vector<T, kWidth>& vector) {
                         store(vector, target + row * kWidth);
                       });
}

// Blocks (x, c, i) copy item i of copy c between them.
__global__ void __launch_bounds__(kThreads) copy_items(Copies list) {
  const RowCopy& copy = list.copies[blockIdx.y];
  const std::int64_t item = blockIdx.z;
  if (item >= copy.batch) return;
  const std::byte* source = copy.source + item * copy.source_stride;
  std::byte* target = copy.target + item * copy.target_stride;
  const std::uintptr_t unaligned = reinterpret_cast<std::uintptr_t>(source) |
                                   reinterpret_cast<std::uintptr_t>(target) |
                                   static_cast<std::uintptr_t>(copy.bytes);
  if (unaligned % 16 == 0) {
    copy_elements<16>(source, target, copy.bytes);
  } else {
    copy_elements<1>(source, target, copy.bytes);
  }
}

}  // namespace

void copy_rows(const RowCopy* copies, std::size_t count, CUstream_st* stream) {
  while (count > 0) {
    const std::size_t some = std::min(count, kMostRowCopies);
    Copies list;
    std::copy(copies, copies + some, list.copies);
    std::int64_t batch = 0;
    std::int64_t bytes = 0;
    for (const RowCopy* copy = copies; copy != copies + some; ++copy) {
      batch = std::max(batch, copy->batch);
      bytes = std::max(bytes, copy->bytes);
    }
    if (batch > 0 && bytes > 0) {
      launch("copy_rows", copy_items,
             dim3(static_cast<unsigned>(divide_up(bytes, kBlockBytes)), static_cast<unsigned>(some),
                  static_cast<unsigned>(batch)),
             stream, list);
    }
    copies += some;
    count -= some;
  }
}

}  // namespace pcpp
