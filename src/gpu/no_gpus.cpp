#include "base/check.h"
#include "gpu/gpu.h"

namespace pcpp {

const Gpus& gpus() {
  fail<ConfigError>(
      "device cuda: this libpcpp was built without CUDA; build it with the preset cuda, or compute "
      "on the cpu");
}

bool on_gpu(const at::Tensor& /*tensor*/) { return false; }

}  // namespace pcpp
