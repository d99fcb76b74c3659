#include "ops/gpu_attention.h"

#include <ATen/Context.h>
#include <ATen/SDPBackend.h>
#include <ATen/ops/_fused_sdp_choice.h>
#include <ATen/ops/scaled_dot_product_attention.h>
#include <ATen/ops/zeros.h>
#include <c10/util/Exception.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <condition_variable>
#include <list>
#include <mutex>
#include <optional>
#include <string>

#include "base/check.h"
#include "base/deadline.h"
#include "base/excerpt.h"
#include "base/log.h"

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
// All under the mutex.
std::list<AttentionChoice> waiting;  // in the order of their coming
int scopes = 0;
AttentionChoice present;                        // of the scopes
std::array<bool, kKernels.size()> before = {};  // what the first scope found

std::atomic<GpuAttention> chosen = GpuAttention::automatic;  // present.kernel

bool is_allowed(const Kernel& kernel, bool was_allowed) {
  if (present.kernel != GpuAttention::automatic) return kernel.kernel == present.kernel;
  return was_allowed && !(present.masked && kernel.kernel == GpuAttention::cudnn);
}

void begin(const AttentionChoice& choice) {
  present = choice;
  chosen = choice.kernel;
  at::Context& context = at::globalContext();
  for (std::size_t i = 0; i < kKernels.size(); ++i) {
    before[i] = (context.*kKernels[i].is_allowed)();
    (context.*kKernels[i].allow)(is_allowed(kKernels[i], before[i]));
  }
}

void end() {
  chosen = GpuAttention::automatic;
  for (std::size_t i = 0; i < kKernels.size(); ++i) {
    if (is_allowed(kKernels[i], before[i]) == before[i]) continue;
    (at::globalContext().*kKernels[i].allow)(before[i]);
  }
}

std::string text_of(const AttentionChoice& choice) {
  return fmt::format("{}{}", name_of(choice.kernel), choice.masked ? " over pooled tokens" : "");
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

// Takes cuDNN out of libtorch's own choice; a scope that names it still gets it.
void forbid_cudnn() {
  const std::lock_guard lock(mutex);
  for (std::size_t i = 0; i < kKernels.size(); ++i) {
    if (kKernels[i].kernel != GpuAttention::cudnn) continue;
    before[i] = false;
    if (scopes == 0 || present.kernel == GpuAttention::automatic) {
      (at::globalContext().*kKernels[i].allow)(false);
    }
  }
}

}  // namespace

std::string_view name_of(GpuAttention kernel) {
  for (const Kernel& known : kKernels) {
    if (known.kernel == kernel) return known.name;
  }
  return "auto";
}

GpuAttentionScope::GpuAttentionScope(AttentionChoice choice, std::chrono::milliseconds timeout,
                                     const std::stop_token& stop) {
  if (choice.kernel != GpuAttention::automatic) choice.masked = false;  // makes no difference
  std::unique_lock lock(mutex);
  const auto place = waiting.insert(waiting.end(), choice);
  // Those that came before go first, so that none waits for ever behind others that agree.
  const bool agreed = changed.wait_until(lock, stop, deadline_in(timeout), [&] {
    return (scopes == 0 || present == choice) &&
           std::all_of(waiting.begin(), place,
                       [&](const AttentionChoice& earlier) { return earlier == choice; });
  });
  waiting.erase(place);
  changed.notify_all();
  check_not_stopped(stop);
  check<ConfigError>(
      agreed,
      "attention {}: for {} ms other pipelines of this process have been drawing with attention "
      "{}, and libtorch takes one for all: draw with the same, one after the other, or wait longer",
      text_of(choice), timeout.count(), text_of(present));
  if (scopes == 0) begin(choice);
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

void try_cudnn_attention(const at::TensorOptions& options, const std::set<std::int64_t>& sizes) {
  constexpr std::int64_t kQueries = 64;
  constexpr std::int64_t kKeys = 77;  // as many as texts have
  const auto cudnn = std::ranges::find(kKernels, GpuAttention::cudnn, &Kernel::kernel);
  for (const std::int64_t size : sizes) {
    const at::Tensor queries = at::zeros({1, 1, kQueries, size}, options);
    const at::Tensor keys = at::zeros({1, 1, kKeys, size}, options);
    if (!serves(*cudnn, queries, keys, keys, std::nullopt)) continue;
    try {
      at::scaled_dot_product_attention(queries, keys, keys);
    } catch (const c10::OutOfMemoryError&) {
      throw;
    } catch (const c10::Error& error) {
      forbid_cudnn();
      log().warn("cuDNN's attention fails on {}, and another is taken in its place: {}",
                 options.device().str(), first_line(error.what_without_backtrace()));
      return;
    }
  }
}

}  // namespace pcpp
