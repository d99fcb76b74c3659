// Softmax attention of one head, block by block: no more scores exist at a time than those of 128
// keys and a few queries. Online softmax as in FlashAttention (arXiv 2205.14135, algorithm 1).
#ifndef PCPP_KERNELS_ATTENTION_H_
#define PCPP_KERNELS_ATTENTION_H_

#include <cstddef>
#include <cstdint>

#include "kernels/vector_level.h"

namespace pcpp {

// Keys of a block at most, and queries of one call at most.
inline constexpr std::int64_t kAttentionKeys = 128;
inline constexpr std::int64_t kAttentionQueries = 128;

// `count` rows of `size` contiguous elements each, `stride` elements apart.
struct AttentionRows {
  const void* data = nullptr;
  std::int64_t stride = 0;
};

// Keys and values of up to kAttentionKeys tokens as AttentionKernel::pack left them.
struct PackedKeys {
  const std::byte* data = nullptr;
  std::int64_t keys = 0;
  float log_weight = 0;  // added to all their scores: log m where one token stands for m
};

// All functions are thread-safe. Pointers to packed keys and scratch are aligned to 64 bytes.
struct AttentionKernel {
  // Bytes of a block of packed keys, and of the scratch that one call of `attend` needs: multiples
  // of 64.
  std::int64_t (*packed_bytes)(std::int64_t size);
  std::int64_t (*scratch_bytes)(std::int64_t size);

  // Rearranges `count` keys and values, from 1 to kAttentionKeys.
  void (*pack)(const AttentionRows& keys, const AttentionRows& values, std::int64_t count,
               std::int64_t size, std::byte* packed);

  // output = softmax(q k^T / sqrt(size) + log_weight) v for `count` queries, from 1 to
  // kAttentionQueries, over all keys of `blocks`, of which there is at least one. What a query
  // gets does not depend, to the bit, on the others of its call.
  void (*attend)(const AttentionRows& queries, std::int64_t count, std::int64_t size,
                 const PackedKeys* blocks, std::int64_t block_count, void* output,
                 std::int64_t output_stride, std::byte* scratch);
};

// The kernel for a level that is at most vector_level(). All sums are in float32. Products are of
// float32, but at amx those of bfloat16 tensors are of bfloat16, to which the probabilities are
// rounded. (AVX-512's own products of bfloat16 took 1.4 times as long as those of float32 where
// both were measured.)
AttentionKernel attention_kernel(VectorElement element, VectorLevel level);

}  // namespace pcpp

#endif  // PCPP_KERNELS_ATTENTION_H_
