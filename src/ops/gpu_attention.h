// Which of libtorch's kernels attention takes on GPUs.
#ifndef PCPP_OPS_GPU_ATTENTION_H_
#define PCPP_OPS_GPU_ATTENTION_H_

#include <ATen/core/Tensor.h>
#include <c10/core/TensorOptions.h>

#include <chrono>
#include <cstdint>
#include <set>
#include <stop_token>
#include <string_view>

#include "pcpp/pipeline.h"

namespace pcpp {

// What a request asks of libtorch's attention.
struct AttentionChoice {
  GpuAttention kernel = GpuAttention::automatic;
  // Scores come with a mask. Of its own choice libtorch then gives cuDNN, which it prefers on
  // Hopper, masks that are not whole in memory, as the one of gpu_attention() is not.
  bool masked = false;

  friend bool operator==(const AttentionChoice&, const AttentionChoice&) = default;
};

// From its construction to its destruction all ranks take the kernel of `choice`. libtorch's choice
// is one for the process: scopes that agree may overlap, another one waits until they have ended.
class GpuAttentionScope {
 public:
  // Throws ConfigError where others choose otherwise for longer than `timeout`, Cancelled once a
  // stop is requested meanwhile.
  GpuAttentionScope(AttentionChoice choice, std::chrono::milliseconds timeout,
                    const std::stop_token& stop = {});
  ~GpuAttentionScope();
  GpuAttentionScope(const GpuAttentionScope&) = delete;
  GpuAttentionScope& operator=(const GpuAttentionScope&) = delete;
};

// softmax(query key^T / sqrt(size) + mask) value for [batch, heads, tokens, size] each, by
// libtorch; `mask` [1, 1, 1, keys] or undefined. Throws ConfigError where the scope's kernel cannot
// serve.
at::Tensor gpu_attention(const at::Tensor& query, const at::Tensor& key, const at::Tensor& value,
                         const at::Tensor& mask);

// Where libtorch would take cuDNN of its own choice on the device and in the type of `options`,
// tries it for heads of each of `sizes`. If it fails, as where it does not find the library that it
// compiles its kernels with, libtorch takes it no more in this process unless a scope names it, and
// a warning says so. Not tried while a scope names another. Throws as libtorch does where there is
// no memory.
void try_cudnn_attention(const at::TensorOptions& options, const std::set<std::int64_t>& sizes);

}  // namespace pcpp

#endif  // PCPP_OPS_GPU_ATTENTION_H_
