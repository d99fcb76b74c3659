// Which of libtorch's kernels attention takes on GPUs.
#ifndef PCPP_OPS_GPU_ATTENTION_H_
#define PCPP_OPS_GPU_ATTENTION_H_

#include <ATen/core/Tensor.h>

#include <chrono>
#include <stop_token>
#include <string_view>

#include "pcpp/pipeline.h"

namespace pcpp {

// "flash", as on the command line.
std::string_view name_of(GpuAttention kernel);

// From its construction to its destruction all ranks take `kernel`. libtorch's choice is one for
// the process: scopes for the same kernel may overlap, another one waits until they have ended.
class GpuAttentionScope {
 public:
  // Throws ConfigError where others take another kernel for longer than `timeout`, Cancelled once a
  // stop is requested meanwhile.
  GpuAttentionScope(GpuAttention kernel, std::chrono::milliseconds timeout,
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

}  // namespace pcpp

#endif  // PCPP_OPS_GPU_ATTENTION_H_
