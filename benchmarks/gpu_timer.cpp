#include "gpu_timer.h"

#include <ATen/ops/zeros.h>
#include <c10/core/Event.h>
#include <c10/core/impl/VirtualGuardImpl.h>

#include <algorithm>
#include <chrono>
#include <cmath>

namespace pcpp::benchmarks {

namespace {

constexpr std::int64_t kColdBytes = 512LL << 20;  // beyond any GPU's second-level cache
constexpr double kCacheBytes = 128 << 20;         // more than any has
constexpr double kMostColdRuns = 64;
constexpr std::size_t kLeastLaunches = 16;
constexpr int kMeasuredCopies = 20;

c10::Stream present_stream(const at::Device& device) {
  return c10::impl::VirtualGuardImpl(device.type()).getStream(device);
}

}  // namespace

std::size_t cold_runs(double bytes) {
  const double filling = std::ceil(static_cast<double>(kColdBytes) / std::max(bytes, 1.0));
  return static_cast<std::size_t>(std::clamp(filling, 1.0, kMostColdRuns));
}

bool reads_memory(const KernelRun& run) {
  const bool first_time = static_cast<double>(cold_runs(run.bytes)) * run.bytes >= kCacheBytes;
  const bool second_time = run.reread_bytes == 0 || run.reread_bytes >= kCacheBytes;
  return first_time && second_time;
}

GpuTimer::GpuTimer(const at::Device& device)
    : device_(device),
      source_(at::zeros({kColdBytes}, at::TensorOptions(device).dtype(at::kByte))),
      target_(source_.clone()) {
  const auto copies = [this] {
    for (int i = 0; i < kMeasuredCopies; ++i) copy();
  };
  elapsed_ms(copies);
  copy_ms_ = elapsed_ms(copies) / kMeasuredCopies;
}

double GpuTimer::copied_bytes_per_second() const {
  return 2 * static_cast<double>(kColdBytes) / (copy_ms_ * 1e-3);
}

void GpuTimer::copy() const { target_.copy_(source_); }

double GpuTimer::elapsed_ms(const std::function<void()>& queue) const {
  const c10::Stream stream = present_stream(device_);
  c10::Event begin(device_.type(), c10::EventFlag::BACKEND_DEFAULT);
  c10::Event end(device_.type(), c10::EventFlag::BACKEND_DEFAULT);
  begin.record(stream);
  queue();
  end.record(stream);
  end.synchronize();
  return begin.elapsedTime(end);
}

double GpuTimer::milliseconds(const std::vector<KernelRun>& runs,
                              std::function<at::Tensor()> KernelRun::*way) const {
  using Clock = std::chrono::steady_clock;
  const std::size_t passes = (kLeastLaunches + runs.size() - 1) / runs.size();
  std::vector<at::Tensor> results(runs.size());  // kept, or the next one would get the same memory
  const auto queue = [&] {
    for (std::size_t i = 0; i < passes * runs.size(); ++i) {
      results[i % runs.size()] = (runs[i % runs.size()].*way)();
    }
  };
  const Clock::time_point start = Clock::now();
  queue();
  const double host_ms = std::chrono::duration<double, std::milli>(Clock::now() - start).count();
  present_stream(device_).synchronize();
  for (double covered_ms = 0; covered_ms <= host_ms; covered_ms += copy_ms_) copy();
  return elapsed_ms(queue) / static_cast<double>(passes * runs.size());
}

}  // namespace pcpp::benchmarks
