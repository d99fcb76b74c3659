// The functions of the CUDA runtime, over the fake's streams.
#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "support/fake_cuda_machine.h"

using namespace pcpp::testing::fake_cuda;  // NOLINT(google-build-using-namespace)

namespace {

constexpr int kFresh = 0xA5;  // what allocated memory holds
constexpr int kFreed = 0xDD;  // what freed memory holds

bool overlaps(const Range& range, const std::byte* data, std::size_t bytes) {
  const auto* begin = static_cast<const std::byte*>(range.address);
  return begin < data + bytes && data < begin + range.bytes;
}

// By what a stream has still to do.
bool is_used(const std::byte* data, std::size_t bytes) {
  for (const auto& stream : machine().streams) {
    for (const Operation& operation : stream->queue) {
      for (const Range& range : operation.ranges) {
        if (overlaps(range, data, bytes)) return true;
      }
    }
  }
  return false;
}

// As cudaFree does, which libtorch counts on; this library does not.
void finish_device(Call& call, int device) {
  // By index, as others may add some meanwhile.
  for (std::size_t i = 0; i < machine().streams.size(); ++i) {  // NOLINT(modernize-loop-convert)
    cudaStream_t stream = machine().streams[i].get();
    if (stream->device == device) finish(call, stream);
  }
}

}  // namespace

extern "C" {

const char* cudaGetErrorString(cudaError_t error) {
  return error == cudaErrorMemoryAllocation ? "out of memory" : "as the test asked";
}
const char* cudaGetErrorName(cudaError_t error) {
  switch (error) {
    case cudaErrorMemoryAllocation:
      return "cudaErrorMemoryAllocation";
    case cudaErrorECCUncorrectable:
      return "cudaErrorECCUncorrectable";
    default:
      return "another error";
  }
}
cudaError_t cudaGetLastError() { return std::exchange(last_error, cudaSuccess); }

cudaError_t cudaGetDevice(int* device) {
  *device = present_device;
  return cudaSuccess;
}

cudaError_t cudaSetDevice(int device) {
  Call call("cudaSetDevice", true);
  if (device < 0 || device >= machine().options.devices) return call.fails(cudaErrorInvalidDevice);
  if (!call.failed()) {
    present_device = device;
    machine().contexts.insert(device);
  }
  return call.status();
}

cudaError_t cudaGetDeviceCount(int* count) {
  Call call("cudaGetDeviceCount");
  *count = machine().options.devices;
  return call.status();
}

cudaError_t cudaDeviceCanAccessPeer(int* can, int device, int peer) {
  Call call("cudaDeviceCanAccessPeer");
  *can = device != peer && machine().options.peer_access ? 1 : 0;
  return call.status();
}

cudaError_t cudaDeviceEnablePeerAccess(int peer, unsigned int) {
  Call call("cudaDeviceEnablePeerAccess");
  if (call.failed()) return call.status();
  if (peer == present_device || !machine().options.peer_access) {
    return call.breaks("peer access enabled where there is none");
  }
  const bool first = machine().peers.insert({present_device, peer}).second;
  return first ? cudaSuccess : call.fails(cudaErrorPeerAccessAlreadyEnabled);
}

cudaError_t cudaDeviceGetStreamPriorityRange(int* least, int* greatest) {
  Call call("cudaDeviceGetStreamPriorityRange");
  *least = 0;
  *greatest = -5;
  return call.status();
}

cudaError_t cudaStreamCreateWithPriority(cudaStream_t* stream, unsigned int flags, int) {
  Call call("cudaStreamCreateWithPriority");
  if (call.failed()) return call.status();
  if (flags != cudaStreamNonBlocking) return call.breaks("a stream that waits for the default one");
  machine().streams.push_back(std::make_unique<CUstream_st>());
  *stream = machine().streams.back().get();
  (*stream)->device = present_device;
  return cudaSuccess;
}

cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  Call call("cudaStreamDestroy", true);
  if (!is_live(stream)) return call.breaks("a stream is destroyed twice");
  if (!stream->queue.empty()) report("a stream is destroyed before it has ended");
  stream->destroyed = true;
  return call.status();
}

cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  Call call("cudaStreamSynchronize", true);
  stream = served(stream);
  if (!is_live(stream)) return call.breaks("cudaStreamSynchronize of no stream");
  if (stream->capture) return call.breaks("cudaStreamSynchronize of a stream that captures");
  finish(call, stream);
  return call.status();
}

cudaError_t cudaStreamQuery(cudaStream_t stream) {
  Call call("cudaStreamQuery", true);
  stream = served(stream);
  if (call.failed()) return call.status();
  if (!is_live(stream)) return call.breaks("cudaStreamQuery of no stream");
  if (stream->capture) return call.breaks("cudaStreamQuery of a stream that captures");
  if (stream->queue.empty()) return cudaSuccess;
  run_up_to(MarkerPtr(stream->queue.back().marker), true);
  return call.fails(cudaErrorNotReady);
}

cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned int) {
  Call call("cudaStreamWaitEvent");
  stream = served(stream);
  if (call.failed()) return call.status();
  if (!is_live(stream) || !is_live(event)) return call.breaks("a wait of what is not there");
  if (stream->capture) return call.breaks("a wait for an event from outside of a capture");
  const MarkerPtr awaited = event->recorded;
  if (awaited == nullptr) return cudaSuccess;
  Operation wait;
  wait.kind = Kind::order;
  wait.ready = [awaited] { return awaited->passed; };
  wait.pull = [awaited] { run_up_to(awaited, true); };
  enqueue(stream, std::move(wait));
  return cudaSuccess;
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned int flags) {
  Call call("cudaEventCreateWithFlags");
  if (call.failed()) return call.status();
  machine().events.push_back(std::make_unique<CUevent_st>());
  *event = machine().events.back().get();
  (*event)->device = present_device;
  (*event)->timing = (flags & cudaEventDisableTiming) == 0;
  return cudaSuccess;
}

cudaError_t cudaEventDestroy(cudaEvent_t event) {
  Call call("cudaEventDestroy", true);
  if (!is_live(event)) return call.breaks("an event is destroyed twice");
  event->destroyed = true;
  return call.status();
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  Call call("cudaEventRecord");
  stream = served(stream);
  if (call.failed()) return call.status();
  if (!is_live(stream) || !is_live(event)) return call.breaks("a record of what is not there");
  if (event->device != stream->device) return call.breaks("an event of another device is recorded");
  if (stream->capture) return call.breaks("an event is recorded in a capture");
  Operation record;
  record.kind = Kind::order;
  event->recorded = enqueue(stream, std::move(record));
  return cudaSuccess;
}

cudaError_t cudaEventQuery(cudaEvent_t event) {
  Call call("cudaEventQuery");
  if (call.failed()) return call.status();
  if (!is_live(event)) return call.breaks("cudaEventQuery of no event");
  if (event->recorded == nullptr || event->recorded->passed) return cudaSuccess;
  run_up_to(MarkerPtr(event->recorded), true);
  return call.fails(cudaErrorNotReady);
}

cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t begin, cudaEvent_t end) {
  Call call("cudaEventElapsedTime");
  if (call.failed()) return call.status();
  if (!is_live(begin) || !is_live(end) || !begin->timing || !end->timing ||
      begin->recorded == nullptr || end->recorded == nullptr) {
    return call.breaks("cudaEventElapsedTime of events without a time");
  }
  if (!begin->recorded->passed || !end->recorded->passed) return call.fails(cudaErrorNotReady);
  *milliseconds = static_cast<float>(end->recorded->milliseconds - begin->recorded->milliseconds);
  return cudaSuccess;
}

cudaError_t cudaMalloc(void** memory, size_t bytes) {
  Call call("cudaMalloc");
  if (call.failed()) return call.status();
  std::size_t& used = machine().used_bytes[present_device];
  if (used + bytes > machine().options.memory_bytes) return call.fails(cudaErrorMemoryAllocation);
  used += bytes;
  auto* data = static_cast<std::byte*>(std::aligned_alloc(256, (bytes + 255) / 256 * 256));
  std::memset(data, kFresh, bytes);
  machine().blocks[data] = {bytes, present_device};
  *memory = data;
  return cudaSuccess;
}

cudaError_t cudaFree(void* memory) {
  Call call("cudaFree", true);
  auto* data = static_cast<std::byte*>(memory);
  const auto found = machine().blocks.find(data);
  if (found == machine().blocks.end()) return call.breaks("cudaFree of no block");
  const std::size_t bytes = found->second.bytes;
  if (machine().options.libtorch) finish_device(call, found->second.device);
  machine().used_bytes[found->second.device] -= bytes;
  if (is_used(data, bytes)) report("memory is freed while a stream still uses it");
  std::memset(data, kFreed, bytes);
  machine().blocks.erase(found);
  std::free(data);
  return call.status();
}

cudaError_t cudaMemsetAsync(void* memory, int value, size_t bytes, cudaStream_t stream) {
  Call call("cudaMemsetAsync");
  stream = served(stream);
  if (call.failed()) return call.status();
  if (!is_live(stream) || stream->device != present_device || block_of(memory, bytes) == nullptr) {
    return call.breaks("cudaMemsetAsync of no memory, or on another device's stream");
  }
  Operation set;
  set.ranges = {{memory, bytes}};
  set.run = [=] { std::memset(memory, value, bytes); };
  enqueue(stream, std::move(set));
  return cudaSuccess;
}

cudaError_t cudaMemcpy(void* target, const void* source, size_t bytes, cudaMemcpyKind kind) {
  Call call("cudaMemcpy", true);
  if (call.failed()) return call.status();
  if (kind != cudaMemcpyDeviceToHost || block_of(source, bytes) == nullptr) {
    return call.breaks("cudaMemcpy of no memory, or not to the host");
  }
  if (is_used(static_cast<const std::byte*>(source), bytes)) {
    report("memory is read while a stream still uses it");
  }
  std::memcpy(target, source, bytes);
  return cudaSuccess;
}

cudaError_t cudaMemcpyPeerAsync(void* target, int target_device, const void* source,
                                int source_device, size_t bytes, cudaStream_t stream) {
  Call call("cudaMemcpyPeerAsync");
  stream = served(stream);
  if (call.failed()) return call.status();
  const Block* to = block_of(target, bytes);
  const Block* from = block_of(source, bytes);
  if (!is_live(stream) || to == nullptr || from == nullptr || to->device != target_device ||
      from->device != source_device) {
    return call.breaks("cudaMemcpyPeerAsync of memory that is not on the named devices");
  }
  Operation copy;
  copy.kind = Kind::copy;
  copy.ranges = {{target, bytes}, {source, bytes}};
  copy.run = [=] { std::memcpy(target, source, bytes); };
  enqueue(stream, std::move(copy));
  return cudaSuccess;
}

cudaError_t cudaMemcpyBatchAsync(void* const* targets, const void* const* sources,
                                 const size_t* sizes, size_t count,
                                 cudaMemcpyAttributes* attributes, size_t* attribute_indices,
                                 size_t attribute_count, cudaStream_t stream) {
  Call call("cudaMemcpyBatchAsync");
  stream = served(stream);
  if (call.failed()) return call.status();
  if (!is_live(stream) || stream->device != present_device || count == 0 || attribute_count == 0 ||
      attribute_indices[0] != 0 || attributes[0].srcAccessOrder != cudaMemcpySrcAccessOrderStream) {
    return call.breaks(
        "cudaMemcpyBatchAsync of nothing, on no stream of the device or out of order");
  }
  Operation copy;
  copy.kind = Kind::copy;
  for (size_t i = 0; i < count; ++i) {
    for (const void* address : {static_cast<const void*>(targets[i]), sources[i]}) {
      const Block* block = block_of(address, sizes[i]);
      if (sizes[i] == 0 || block == nullptr) return call.breaks("a copy of no memory");
      if (block->device != stream->device &&
          !machine().peers.contains({stream->device, block->device})) {
        return call.breaks("a copy between devices without peer access");
      }
      copy.ranges.push_back({address, sizes[i]});
    }
  }
  copy.run = [ranges = copy.ranges] {
    for (std::size_t i = 0; i < ranges.size(); i += 2) {
      std::memcpy(const_cast<void*>(ranges[i].address), ranges[i + 1].address,  // NOLINT
                  ranges[i].bytes);
    }
  };
  enqueue(stream, std::move(copy));
  return cudaSuccess;
}

cudaError_t cudaLaunchHostFunc(cudaStream_t stream, cudaHostFn_t function, void* data) {
  Call call("cudaLaunchHostFunc");
  stream = served(stream);
  if (call.failed()) return call.status();
  if (!is_live(stream)) return call.breaks("cudaLaunchHostFunc on no stream");
  Operation run;
  run.run = [=] { function(data); };
  enqueue(stream, std::move(run));
  return cudaSuccess;
}

}  // extern "C"
