#include "base/check.h"
#include "gpu/gpu.h"

namespace pcpp {

const Gpus& gpus() {
  fail<ConfigError>(
      "device cuda: this libpcpp was built without CUDA; build it with the preset cuda, or compute "
      "on the cpu");
}

bool on_gpu(const at::Tensor& /*tensor*/) { return false; }

void begin_range(const char* /*name*/) {}
void end_range() {}

}  // namespace pcpp
