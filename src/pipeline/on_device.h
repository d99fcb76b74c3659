// Computing on the device that was asked for, outside of ranks.
#ifndef PCPP_PIPELINE_ON_DEVICE_H_
#define PCPP_PIPELINE_ON_DEVICE_H_

#include <ATen/core/Tensor.h>

#include <memory>
#include <optional>

#include "gpu/gpu.h"

namespace pcpp {

// Calls function(device) with GPU `gpu` present (absent: on the CPU) and returns what it returns,
// once the GPU has done all of it: ranks do not wait for the stream that this uses.
template <typename Function>
auto on_device(std::optional<int> gpu, const Function& function) {
  if (!gpu) return function(at::Device(at::kCPU));
  const std::unique_ptr<GpuScope> scope = gpus().enter(*gpu, nullptr);
  auto result = function(gpus().device(*gpu));
  gpus().synchronize();
  return result;
}

}  // namespace pcpp

#endif  // PCPP_PIPELINE_ON_DEVICE_H_
