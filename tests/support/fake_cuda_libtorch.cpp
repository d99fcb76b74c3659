// The functions of the CUDA runtime that libtorch calls besides, and those of graphs.
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

#include "support/fake_cuda_machine.h"

using namespace pcpp::testing::fake_cuda;  // NOLINT(google-build-using-namespace)

struct CUgraph_st {
  std::vector<Operation> operations;
};

struct CUgraphExec_st {
  int device = 0;
  std::vector<Operation> operations;
};

namespace {

void copy(cudaStream_t stream, void* target, const void* source, std::vector<Range> ranges) {
  const std::size_t bytes = ranges.front().bytes;
  Operation operation;
  operation.ranges = std::move(ranges);
  operation.run = [=] { std::memmove(target, source, bytes); };
  enqueue(stream, std::move(operation));
}

cudaError_t copy_from_host(Call& call, void* target, const void* source, std::size_t bytes,
                           cudaStream_t stream) {
  if (block_of(target, bytes) == nullptr || block_of(source, 1) != nullptr) {
    return call.breaks("a copy to a device of, or to, wrong memory");
  }
  if (block_of(source, bytes, machine().pinned) != nullptr) {
    copy(stream, target, source, {{target, bytes}});
    return cudaSuccess;
  }
  if (stream->capture) return call.breaks("a copy of pageable memory in a capture");
  const auto* begin = static_cast<const std::byte*>(source);
  Operation staged;
  staged.ranges = {{target, bytes}};
  staged.run = [target, kept = std::vector(begin, begin + bytes)] {
    std::memcpy(target, kept.data(), kept.size());
  };
  enqueue(stream, std::move(staged));
  return cudaSuccess;
}

cudaError_t copy_to_host(Call& call, void* target, const void* source, std::size_t bytes,
                         cudaStream_t stream) {
  if (block_of(source, bytes) == nullptr || block_of(target, 1) != nullptr) {
    return call.breaks("a copy to the host of, or to, wrong memory");
  }
  const bool pinned = block_of(target, bytes, machine().pinned) != nullptr;
  if (stream->capture && !pinned) return call.breaks("a copy to pageable memory in a capture");
  copy(stream, target, source, {{source, bytes}});
  if (!pinned) finish(call, stream);
  return cudaSuccess;
}

cudaError_t kernel_of_libtorch() {
  Call call("cudaLaunchKernelExC", true);
  return call.breaks("a kernel of libtorch's own: host_operators.cpp does not list its operator");
}

}  // namespace

extern "C" {

cudaError_t cudaPeekAtLastError() { return last_error; }

// What nvcc has kernels launched by.
cudaError_t __cudaLaunchKernel(cudaKernel_t /*kernel*/, dim3 /*grid*/, dim3 /*block*/,  // NOLINT
                               void** /*arguments*/, std::size_t /*shared_bytes*/,
                               cudaStream_t /*stream*/) {
  return kernel_of_libtorch();
}

cudaError_t cudaLaunchKernelExC(const cudaLaunchConfig_t* /*config*/, const void* /*kernel*/,
                                void** /*arguments*/) {
  return kernel_of_libtorch();
}

cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int device) {
  Call call("cudaGetDeviceProperties");
  if (device < 0 || device >= machine().options.devices) return call.fails(cudaErrorInvalidDevice);
  *properties = {};
  std::snprintf(properties->name, sizeof(properties->name), "fake GPU");
  properties->major = 9;
  properties->totalGlobalMem = machine().options.memory_bytes;
  properties->multiProcessorCount = 4;
  properties->warpSize = 32;
  properties->maxThreadsPerBlock = 1024;
  properties->maxThreadsPerMultiProcessor = 2048;
  properties->sharedMemPerBlock = 48 << 10;
  properties->sharedMemPerBlockOptin = 227 << 10;
  return call.status();
}

cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int /*device*/) {
  Call call("cudaDeviceGetAttribute");
  if (call.failed()) return call.status();
  if (attribute != cudaDevAttrClockRate) return call.breaks("an attribute that no device has");
  *value = 1'000'000;
  return cudaSuccess;
}

cudaError_t cudaMemGetInfo(std::size_t* free, std::size_t* total) {
  Call call("cudaMemGetInfo");
  *total = machine().options.memory_bytes;
  *free = *total - machine().used_bytes[present_device];
  return call.status();
}

cudaError_t cudaMemcpyAsync(void* target, const void* source, std::size_t bytes,
                            cudaMemcpyKind kind, cudaStream_t stream) {
  Call call("cudaMemcpyAsync");
  stream = served(stream);
  if (call.failed()) return call.status();
  if (!is_live(stream) || stream->device != present_device) {
    return call.breaks("cudaMemcpyAsync on a stream that is not of the present device");
  }
  if (kind == cudaMemcpyHostToDevice) return copy_from_host(call, target, source, bytes, stream);
  if (kind == cudaMemcpyDeviceToHost) return copy_to_host(call, target, source, bytes, stream);
  if (kind != cudaMemcpyDeviceToDevice || block_of(target, bytes) == nullptr ||
      block_of(source, bytes) == nullptr) {
    return call.breaks("cudaMemcpyAsync within a device of wrong memory");
  }
  copy(stream, target, source, {{target, bytes}, {source, bytes}});
  return cudaSuccess;
}

cudaError_t cudaHostAlloc(void** memory, std::size_t bytes, unsigned int) {
  Call call("cudaHostAlloc");
  if (call.failed()) return call.status();
  auto* data = static_cast<std::byte*>(std::aligned_alloc(256, (bytes + 255) / 256 * 256));
  machine().pinned[data] = {bytes, present_device};
  *memory = data;
  return cudaSuccess;
}

cudaError_t cudaFreeHost(void* memory) {
  Call call("cudaFreeHost", true);
  if (machine().pinned.erase(static_cast<std::byte*>(memory)) == 0) {
    return call.breaks("cudaFreeHost of no block");
  }
  std::free(memory);
  return call.status();
}

cudaError_t cudaDeviceSynchronize() {
  Call call("cudaDeviceSynchronize", true);
  return call.breaks("cudaDeviceSynchronize, which waits for other pipelines too");
}

cudaError_t cudaThreadExchangeStreamCaptureMode(cudaStreamCaptureMode* mode) {
  std::swap(*mode, capture_mode);
  return cudaSuccess;
}

cudaError_t cudaStreamIsCapturing(cudaStream_t stream, cudaStreamCaptureStatus* status) {
  Call call("cudaStreamIsCapturing", true);
  stream = served(stream);
  *status = stream->capture ? cudaStreamCaptureStatusActive : cudaStreamCaptureStatusNone;
  return call.status();
}

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode mode) {
  Call call("cudaStreamBeginCapture");
  if (call.failed()) return call.status();
  if (!is_live(stream) || stream->capture) return call.breaks("a capture on no idle stream");
  if (mode != cudaStreamCaptureModeThreadLocal) {
    return call.breaks("a capture in another mode than thread-local");
  }
  stream->capture = std::make_unique<Capture>();
  stream->capture->thread = std::this_thread::get_id();
  ++captures;
  return cudaSuccess;
}

cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
  Call call("cudaStreamEndCapture", true);
  *graph = nullptr;
  if (!is_live(stream) || !stream->capture) return call.breaks("the end of no capture");
  if (stream->capture->thread != std::this_thread::get_id()) {
    return call.breaks("a capture is ended by another thread");
  }
  const std::unique_ptr<Capture> capture = std::move(stream->capture);
  --captures;
  if (call.failed()) return call.status();
  *graph = new CUgraph_st{std::move(capture->operations)};
  ++machine().graphs;
  return cudaSuccess;
}

cudaError_t cudaGraphGetNodes(cudaGraph_t graph, cudaGraphNode_t* nodes, std::size_t* count) {
  Call call("cudaGraphGetNodes");
  if (nodes != nullptr) return call.breaks("cudaGraphGetNodes of nodes, which are not there");
  *count = graph->operations.size();
  return call.status();
}

cudaError_t cudaGraphInstantiate(cudaGraphExec_t* executable, cudaGraph_t graph,
                                 unsigned long long flags) {
  Call call("cudaGraphInstantiate");
  if (call.failed()) return call.status();
  if (flags != 0) return call.breaks("cudaGraphInstantiate with flags");
  *executable = new CUgraphExec_st{present_device, graph->operations};
  ++machine().graphs;
  return cudaSuccess;
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t executable, cudaStream_t stream) {
  Call call("cudaGraphLaunch");
  stream = served(stream);
  if (call.failed()) return call.status();
  if (!is_live(stream) || stream->device != executable->device || stream->capture) {
    return call.breaks("a graph on a stream that is not of its device, or captures");
  }
  for (const Operation& operation : executable->operations) enqueue(stream, operation);
  return cudaSuccess;
}

cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  Call call("cudaGraphDestroy", true);
  delete graph;
  --machine().graphs;
  return call.status();
}

cudaError_t cudaGraphExecDestroy(cudaGraphExec_t executable) {
  Call call("cudaGraphExecDestroy", true);
  delete executable;
  --machine().graphs;
  return call.status();
}

}  // extern "C"
