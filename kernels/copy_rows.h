// Copies blocks of rows between strided arrays: on the CPU, and on a GPU many in one launch (the
// function with a stream, which PCPP_CUDA builds).
#ifndef PCPP_KERNELS_COPY_ROWS_H_
#define PCPP_KERNELS_COPY_ROWS_H_

#include <cstddef>
#include <cstdint>

struct CUstream_st;  // what a cudaStream_t points to

namespace pcpp {

// For each of `batch` items `bytes` contiguous bytes from source + i * source_stride to target +
// i * target_stride (strides in bytes).
struct RowCopy {
  std::byte* target = nullptr;
  std::int64_t target_stride = 0;
  const std::byte* source = nullptr;
  std::int64_t source_stride = 0;
  std::int64_t batch = 0;
  std::int64_t bytes = 0;
};

// No copy may write where it or another reads or writes.
void copy_rows(const RowCopy* copies, std::size_t count);

// The most copies of one launch.
inline constexpr std::size_t kMostRowCopies = 64;

// Queues the copies within the memory of the current device on `stream`, in as few launches as
// kMostRowCopies allows; `copies` itself is read before the call returns. Moves 16 bytes at a time
// where the addresses, strides and bytes of a copy are multiples of 16, else single ones. Throws
// DeviceError where a kernel cannot be launched.
void copy_rows(const RowCopy* copies, std::size_t count, CUstream_st* stream);

}  // namespace pcpp

#endif  // PCPP_KERNELS_COPY_ROWS_H_
