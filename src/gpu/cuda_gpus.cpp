#include <ATen/Context.h>
#include <ATen/cuda/Sleep.h>
#include <c10/core/StreamGuard.h>
#include <c10/cuda/CUDAFunctions.h>
#include <c10/cuda/CUDAStream.h>
#include <nvtx3/nvToolsExt.h>

#include <optional>
#include <utility>

#include "base/check.h"
#include "base/cuda.h"
#include "gpu/cuda_graphs.h"
#include "gpu/gpu.h"
#include "parallel/nccl_transport.h"
#include "parallel/peer_transport.h"

namespace pcpp {

namespace {

class Scope final : public GpuScope {
 public:
  explicit Scope(c10::Stream stream) : guard_(stream) {}

 private:
  const WorkspaceUse workspace_use_;
  c10::StreamGuard guard_;
};

std::vector<int> first_of(const std::vector<int>& gpus, int ranks) {
  return {gpus.begin(), gpus.begin() + ranks};
}

class PeerHubs final : public GpuHubs {
 public:
  explicit PeerHubs(std::vector<int> gpus) : gpus_(std::move(gpus)) {}
  std::unique_ptr<Hub> make(int ranks, std::chrono::milliseconds timeout) override {
    return std::make_unique<PeerHub>(first_of(gpus_, ranks), timeout);
  }

 private:
  std::vector<int> gpus_;
};

// Of NCCL's kernels, those of one rank wait on its device for those of another, which it launches
// when it comes to it.
class HoldingHub final : public NcclHub {
 public:
  using NcclHub::NcclHub;
  bool finish() noexcept override {
    const bool has_ended = NcclHub::finish();
    if (has_ended) hold_.reset();
    return has_ended;
  }

 private:
  std::optional<MemoryHold> hold_{std::in_place};
};

// Communicators live as long as ranks and timeout stay the same.
class NcclHubs final : public GpuHubs {
 public:
  explicit NcclHubs(std::vector<int> gpus) : gpus_(std::move(gpus)) {}
  std::unique_ptr<Hub> make(int ranks, std::chrono::milliseconds timeout) override {
    if (!world_ || ranks != ranks_ || timeout != timeout_) {
      world_.reset();
      world_.emplace(nccl_api(), first_of(gpus_, ranks), timeout);
      ranks_ = ranks;
      timeout_ = timeout;
    }
    return std::make_unique<HoldingHub>(*world_);
  }

 private:
  std::vector<int> gpus_;
  int ranks_ = 0;
  std::chrono::milliseconds timeout_{};
  std::optional<NcclWorld> world_;
};

cudaDeviceProp properties_of(int number) {
  cudaDeviceProp properties{};
  check_cuda(cudaGetDeviceProperties(&properties, number), "cudaGetDeviceProperties");
  return properties;
}

class CudaGpus final : public Gpus {
 public:
  CudaGpus() {
    const cudaError_t status = cudaGetDeviceCount(&count_);
    check<ConfigError>(status == cudaSuccess && count_ > 0,
                       "device cuda: no GPU can be used: {}: {}",
                       cudaGetErrorString(status == cudaSuccess ? cudaErrorNoDevice : status),
                       remedy_for(cudaErrorNoDevice));
    // The same bits in every run, and float32 that is what it says.
    at::globalContext().setDeterministicCuDNN(true);
    at::globalContext().setAllowTF32CuDNN(false);
  }

  int count() const override { return count_; }

  std::string name(int number) const override { return properties_of(number).name; }

  std::int64_t memory_bytes(int number) const override {
    return static_cast<std::int64_t>(properties_of(number).totalGlobalMem);
  }

  at::Device device(int number) const override {
    return {at::kCUDA, static_cast<c10::DeviceIndex>(number)};
  }

  std::unique_ptr<GpuScope> enter(int number, CUstream_st* stream) const override {
    const auto index = static_cast<c10::DeviceIndex>(number);
    return std::make_unique<Scope>(stream == nullptr
                                       ? c10::cuda::getDefaultCUDAStream(index).unwrap()
                                       : c10::cuda::getStreamFromExternal(stream, index).unwrap());
  }

  void make_present(int number) const override {
    check_cuda(cudaSetDevice(number), "cudaSetDevice");
  }

  CUstream_st* stream() const override { return c10::cuda::getCurrentCUDAStream().stream(); }

  std::unique_ptr<GraphRecorder> recorder() const override { return make_graph_recorder(); }

  void occupy(double seconds) const override {
    int kilohertz = 0;  // at most
    check_cuda(cudaDeviceGetAttribute(&kilohertz, cudaDevAttrClockRate,
                                      c10::cuda::getCurrentCUDAStream().device_index()),
               "cudaDeviceGetAttribute");
    at::cuda::sleep(static_cast<std::int64_t>(seconds * 1e3 * kilohertz));
  }

  // A device may not be synchronised while another pipeline records there.
  void synchronize() const override {
    check_cuda(cudaStreamSynchronize(stream()), "cudaStreamSynchronize");
  }

  void release_memory() const override { release_cached_memory(); }

  std::unique_ptr<GpuHubs> hubs(std::vector<int> gpus, GpuTransport transport) const override {
    if (transport == GpuTransport::nccl) return std::make_unique<NcclHubs>(std::move(gpus));
    return std::make_unique<PeerHubs>(std::move(gpus));
  }

 private:
  int count_ = 0;
};

}  // namespace

const Gpus& gpus() {
  static const CudaGpus instance;
  return instance;
}

bool on_gpu(const at::Tensor& tensor) { return tensor.is_cuda(); }

void begin_range(const char* name) { nvtxRangePushA(name); }
void end_range() { nvtxRangePop(); }

}  // namespace pcpp
