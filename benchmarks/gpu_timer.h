// How long a GPU takes for what it is given, without the host's part.
#ifndef PCPP_BENCHMARKS_GPU_TIMER_H_
#define PCPP_BENCHMARKS_GPU_TIMER_H_

#include <ATen/core/Tensor.h>

#include <cstddef>
#include <functional>
#include <vector>

#include "kernel_case.h"

namespace pcpp::benchmarks {

// How many runs of a case, each with memory of its own, take turns, so that none finds its memory
// in a cache: as many as fill half a gigabyte, and at most 64.
std::size_t cold_runs(double bytes);

// Whether as many runs as that find all that they read in memory, so that what they read and write
// in a second can be held against a copy: not where a cache can hold all of them, nor where it can
// hold an input that each reads twice.
bool reads_memory(const KernelRun& run);

// On the device's present stream. Not thread-safe.
class GpuTimer {
 public:
  // Measures the copy, for which it keeps a gigabyte of the device's memory.
  explicit GpuTimer(const at::Device& device);

  // Bytes read and written in a second by libtorch's copy of half a gigabyte.
  double copied_bytes_per_second() const;

  // Milliseconds of one way of `runs`, the mean over a few times all of them in turn. By events
  // around them; they are queued while the device is busy, so that it never waits for the host.
  double milliseconds(const std::vector<KernelRun>& runs,
                      std::function<at::Tensor()> KernelRun::*way) const;

 private:
  double elapsed_ms(const std::function<void()>& queue) const;
  void copy() const;

  at::Device device_;
  at::Tensor source_;
  at::Tensor target_;
  double copy_ms_ = 0;
};

}  // namespace pcpp::benchmarks

#endif  // PCPP_BENCHMARKS_GPU_TIMER_H_
