#include "gpu/cuda_graphs.h"

#include <ATen/cuda/CUDAContextLight.h>
#include <ATen/cuda/CUDAGraph.h>
#include <c10/cuda/CUDACachingAllocator.h>
#include <c10/cuda/CUDAStream.h>

#include <mutex>
#include <utility>

#include "base/cuda.h"

namespace pcpp {

namespace {

namespace allocator = c10::cuda::CUDACachingAllocator;

// Held while a thread captures: libtorch lets one do so at a time, and gives back no memory
// meanwhile.
std::mutex capturing;

// Another mutex: whoever holds the first may wait for a device, and a rank that has failed passes
// this one before it can end what its peers' devices wait for.
std::mutex using_workspaces;
int workspace_uses = 0;  // that live; under the mutex

std::mutex holding;
int memory_holds = 0;  // that live; under the mutex

// To be called under `capturing`.
void empty_cache() {
  const std::lock_guard lock(holding);
  if (memory_holds == 0) allocator::emptyCache();
}

class CudaGraph final : public GpuGraph {
 public:
  CudaGraph(cudaGraph_t graph, cudaStream_t stream) : stream_(stream) {
    cudaGraphExec_t executable = nullptr;
    check_cuda(cudaGraphInstantiate(&executable, graph, 0), "cudaGraphInstantiate");
    executable_ = Owned<cudaGraphExec_t, destroy>(executable);
  }

  void launch() override {
    check_cuda(cudaGraphLaunch(executable_.get(), stream_), "cudaGraphLaunch");
  }

 private:
  // Also while this thread still captures: a stop or an error may come in the middle of a step.
  static void destroy(cudaGraphExec_t executable) {
    cudaStreamCaptureMode mode = cudaStreamCaptureModeRelaxed;
    log_cuda(cudaThreadExchangeStreamCaptureMode(&mode), "cudaThreadExchangeStreamCaptureMode");
    log_cuda(cudaGraphExecDestroy(executable), "cudaGraphExecDestroy");
    log_cuda(cudaThreadExchangeStreamCaptureMode(&mode), "cudaThreadExchangeStreamCaptureMode");
  }

  cudaStream_t stream_;
  Owned<cudaGraphExec_t, destroy> executable_;
};

class CudaRecorder final : public GraphRecorder {
 public:
  CudaRecorder()
      : stream_(c10::cuda::getCurrentCUDAStream()), pool_(at::cuda::graph_pool_handle()) {
    const std::lock_guard lock(capturing);
    // What the steps before left would be of no use to the graphs, nor be given back for them.
    empty_cache();
    allocator::createOrIncrefPool(stream_.device_index(), pool_);
  }

  ~CudaRecorder() override {
    if (lock_.owns_lock()) {  // an error, or a stop, in the middle of a step
      cudaGraph_t graph = nullptr;
      log_cuda(end_capture(graph), "cudaStreamEndCapture");
      destroy(graph);
    }
    allocator::releasePool(stream_.device_index(), pool_);
  }

  void begin() override {
    std::unique_lock lock(capturing);
    allocator::beginAllocateToPool(
        stream_.device_index(), pool_,
        [stream = stream_.stream()](cudaStream_t other) { return other == stream; });
    const cudaError_t status =
        cudaStreamBeginCapture(stream_.stream(), cudaStreamCaptureModeThreadLocal);
    if (status != cudaSuccess) end_pool_use();
    check_cuda(status, "cudaStreamBeginCapture");
    lock_ = std::move(lock);
  }

  std::unique_ptr<GpuGraph> end() override {
    cudaGraph_t captured = nullptr;
    const cudaError_t status = end_capture(captured);
    const Owned<cudaGraph_t, destroy> graph(captured);
    check_cuda(status, "cudaStreamEndCapture");
    std::size_t nodes = 0;
    check_cuda(cudaGraphGetNodes(graph.get(), nullptr, &nodes), "cudaGraphGetNodes");
    if (nodes == 0) return nullptr;
    auto result = std::make_unique<CudaGraph>(graph.get(), stream_.stream());
    result->launch();
    return result;
  }

 private:
  static void destroy(cudaGraph_t graph) {
    if (graph != nullptr) log_cuda(cudaGraphDestroy(graph), "cudaGraphDestroy");
  }

  cudaError_t end_capture(cudaGraph_t& graph) {
    const cudaError_t status = cudaStreamEndCapture(stream_.stream(), &graph);
    end_pool_use();
    lock_.unlock();
    return status;
  }

  void end_pool_use() {
    allocator::endAllocateToPool(stream_.device_index(), pool_);
    allocator::releasePool(stream_.device_index(), pool_);  // as each begin takes it once more
  }

  const c10::cuda::CUDAStream stream_;
  const c10::MempoolId_t pool_;
  std::unique_lock<std::mutex> lock_;  // while it captures
};

}  // namespace

WorkspaceUse::WorkspaceUse() {
  const std::lock_guard lock(using_workspaces);
  ++workspace_uses;
}

WorkspaceUse::~WorkspaceUse() {
  const std::lock_guard lock(using_workspaces);
  --workspace_uses;
}

MemoryHold::MemoryHold() {
  const std::lock_guard lock(holding);
  ++memory_holds;
}

MemoryHold::~MemoryHold() {
  const std::lock_guard lock(holding);
  --memory_holds;
}

std::unique_ptr<GraphRecorder> make_graph_recorder() { return std::make_unique<CudaRecorder>(); }

void release_cached_memory() {
  const std::lock_guard lock(capturing);
  {
    const std::lock_guard no_use(using_workspaces);
    // One for each stream that there ever was.
    if (workspace_uses == 0) at::cuda::clearCublasWorkspaces();
  }
  empty_cache();
}

}  // namespace pcpp
