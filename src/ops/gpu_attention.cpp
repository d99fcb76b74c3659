#include "ops/gpu_attention.h"

#include <ATen/Context.h>
#include <ATen/SDPBackend.h>
#include <ATen/ops/_fused_sdp_choice.h>
#include <ATen/ops/scaled_dot_product_attention.h>
#include <c10/util/Exception.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <condition_variable>
#include <list>
#include <mutex>
#include <optional>

#include "base/check.h"
#include "base/deadline.h"

namespace pcpp {

namespace {

struct Kernel {
  GpuAttention kernel;
  std::string_view name;
  at::SDPBackend backend;
  bool (at::Context::*is_allowed)() const;
  void (at::Context::*allow)(bool);
};
constexpr std::array kKernels = {
    Kernel{GpuAttention::flash, "flash", at::SDPBackend::flash_attention,
           &at::Context::userEnabledFlashSDP, &at::Context::setSDPUseFlash},
    Kernel{GpuAttention::efficient, "efficient", at::SDPBackend::efficient_attention,
           &at::Context::userEnabledMemEfficientSDP, &at::Context::setSDPUseMemEfficient},
    Kernel{GpuAttention::cudnn, "cudnn", at::SDPBackend::cudnn_attention,
           &at::Context::userEnabledCuDNNSDP, &at::Context::setSDPUseCuDNN},
    Kernel{GpuAttention::math, "math", at::SDPBackend::math, &at::Context::userEnabledMathSDP,
           &at::Context::setSDPUseMath}};

std::mutex mutex;
std::condition_variable_any changed;
std::list<GpuAttention> waiting;                // under the mutex, in the order of their coming
int scopes = 0;                                 // under the mutex
std::array<bool, kKernels.size()> before = {};  // likewise: what the first scope found
std::atomic<GpuAttention> chosen = GpuAttention::automatic;

void begin(GpuAttention kernel) {
  chosen = kernel;
  if (kernel == GpuAttention::automatic) return;
  at::Context& context = at::globalContext();
  for (std::size_t i = 0; i < kKernels.size(); ++i) {
    before[i] = (context.*kKernels[i].is_allowed)();
    (context.*kKernels[i].allow)(kKernels[i].kernel == kernel);
  }
}

void end() {
  if (chosen.exchange(GpuAttention::automatic) == GpuAttention::automatic) return;
  for (std::size_t i = 0; i < kKernels.size(); ++i) {
    (at::globalContext().*kKernels[i].allow)(before[i]);
  }
}

// libtorch says no by an answer or, having warned of the reasons, by an exception.
bool serves(const Kernel& kernel, const at::Tensor& query, const at::Tensor& key,
            const at::Tensor& value, const std::optional<at::Tensor>& mask) {
  try {
    return at::_fused_sdp_choice(query, key, value, mask) ==
           static_cast<std::int64_t>(kernel.backend);
  } catch (const c10::Error&) {
    return false;
  }
}

}  // namespace

std::string_view name_of(GpuAttention kernel) {
  for (const Kernel& known : kKernels) {
    if (known.kernel == kernel) return known.name;
  }
  return "auto";
}

GpuAttentionScope::GpuAttentionScope(GpuAttention kernel, std::chrono::milliseconds timeout,
                                     const std::stop_token& stop) {
  std::unique_lock lock(mutex);
  const auto place = waiting.insert(waiting.end(), kernel);
  // Those that came before go first, so that none waits for ever behind others that agree.
  const bool agreed = changed.wait_until(lock, stop, deadline_in(timeout), [&] {
    return (scopes == 0 || chosen == kernel) &&
           std::all_of(waiting.begin(), place,
                       [&](GpuAttention earlier) { return earlier == kernel; });
  });
  waiting.erase(place);
  changed.notify_all();
  check_not_stopped(stop);
  check<ConfigError>(
      agreed,
      "attention {}: for {} ms other pipelines of this process have been drawing with attention "
      "{}, and libtorch takes one for all: draw with the same, one after the other, or wait longer",
      name_of(kernel), timeout.count(), name_of(chosen));
  if (scopes == 0) begin(kernel);
  ++scopes;
}

GpuAttentionScope::~GpuAttentionScope() {
  const std::lock_guard lock(mutex);
  if (--scopes > 0) return;
  end();
  changed.notify_all();
}

at::Tensor gpu_attention(const at::Tensor& query, const at::Tensor& key, const at::Tensor& value,
                         const at::Tensor& mask) {
  const std::optional<at::Tensor> added = mask.defined() ? std::optional(mask) : std::nullopt;
  for (const Kernel& kernel : kKernels) {
    check<ConfigError>(kernel.kernel != chosen || serves(kernel, query, key, value, added),
                       "attention {} does not serve heads of {} elements in {}{} on this GPU: take "
                       "auto, which takes what does",
                       kernel.name, query.size(3), c10::toString(query.scalar_type()),
                       mask.defined() ? " with pooled tokens" : "");
  }
  return at::scaled_dot_product_attention(query, key, value, added);
}

}  // namespace pcpp
