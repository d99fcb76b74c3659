// GPUs for test programs without one, linked in place of src/gpu: what is computed for them lies in
// the host's memory, by the kernels emulated and libtorch's functions for CPUs. All of the library
// that knows of GPUs but the CUDA runtime's calls, which the tests over fake_cuda cover, runs as on
// one.
#include <utility>

#include "gpu/gpu.h"
#include "parallel/local_transport.h"

namespace pcpp {

namespace {

thread_local int entered = 0;

class Scope final : public GpuScope {
 public:
  Scope() { ++entered; }
  ~Scope() override { --entered; }
};

class Hubs final : public GpuHubs {
 public:
  std::unique_ptr<Hub> make(int ranks, std::chrono::milliseconds /*timeout*/) override {
    return std::make_unique<LocalHub>(ranks);
  }
};

class EmulatedGpus final : public Gpus {
 public:
  int count() const override { return 8; }
  std::string name(int /*number*/) const override { return "emulated GPU"; }
  at::Device device(int /*number*/) const override { return at::kCPU; }
  std::unique_ptr<GpuScope> enter(int /*number*/, CUstream_st* /*stream*/) const override {
    return std::make_unique<Scope>();
  }
  CUstream_st* stream() const override { return nullptr; }
  void synchronize(int /*number*/) const override {}
  void release_memory() const override {}
  std::unique_ptr<GpuHubs> hubs(std::vector<int> /*gpus*/,
                                GpuTransport /*transport*/) const override {
    return std::make_unique<Hubs>();
  }
};

}  // namespace

const Gpus& gpus() {
  static const EmulatedGpus instance;
  return instance;
}

bool on_gpu(const at::Tensor& tensor) { return entered > 0 && tensor.is_cpu(); }

}  // namespace pcpp
