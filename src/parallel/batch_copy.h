// Copies between GPUs, many in one call.
#ifndef PCPP_PARALLEL_BATCH_COPY_H_
#define PCPP_PARALLEL_BATCH_COPY_H_

#include <cstddef>
#include <vector>

#include "base/cuda.h"

namespace pcpp {

// Pieces for the copy engines (cudaMemcpyBatchAsync), in no order among themselves.
class BatchCopy {
 public:
  // `bytes` above 0. The memory is of devices that the stream's device has access to.
  void add(std::byte* target, const std::byte* source, std::size_t bytes);
  // What follows on the stream, of the present device, comes after all copies; without any it is
  // given nothing.
  void enqueue(const Stream& stream);

 private:
  std::vector<void*> targets_;
  std::vector<const void*> sources_;
  std::vector<std::size_t> sizes_;
};

}  // namespace pcpp

#endif  // PCPP_PARALLEL_BATCH_COPY_H_
