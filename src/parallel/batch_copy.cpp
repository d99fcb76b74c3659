#include "parallel/batch_copy.h"

namespace pcpp {

void BatchCopy::add(std::byte* target, const std::byte* source, std::size_t bytes) {
  targets_.push_back(target);
  sources_.push_back(source);
  sizes_.push_back(bytes);
}

void BatchCopy::enqueue(const Stream& stream) {
  if (sizes_.empty()) return;
  cudaMemcpyAttributes attributes{};
  attributes.srcAccessOrder = cudaMemcpySrcAccessOrderStream;
  attributes.flags = cudaMemcpyFlagPreferOverlapWithCompute;
  std::size_t first = 0;
  check_cuda(cudaMemcpyBatchAsync(targets_.data(), sources_.data(), sizes_.data(), sizes_.size(),
                                  &attributes, &first, 1, stream.get()),
             "cudaMemcpyBatchAsync");
}

}  // namespace pcpp
