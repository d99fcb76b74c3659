// NVIDIA GPUs, as the operators and the pipeline see them. One of two sources is built:
// cuda_gpus.cpp with PCPP_CUDA, no_gpus.cpp without.
#ifndef PCPP_GPU_GPU_H_
#define PCPP_GPU_GPU_H_

#include <ATen/core/Tensor.h>

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "parallel/transport.h"
#include "pcpp/world.h"

namespace pcpp {

// Ends what it began when it goes.
class GpuScope {
 public:
  virtual ~GpuScope() = default;
};

// Makes the hubs of requests, one after the other; keeps what is worth keeping in between.
class GpuHubs {
 public:
  virtual ~GpuHubs() = default;
  // The hub of `ranks` ranks, of which at most one may live at a time. `timeout` bounds what
  // endpoints wait for each other, and the hub at its end for the devices.
  virtual std::unique_ptr<Hub> make(int ranks, std::chrono::milliseconds timeout) = 0;
};

// What a stream was given once, to be given to it again: the same kernels with the same arguments,
// addresses among them.
class GpuGraph {
 public:
  virtual ~GpuGraph() = default;
  virtual void launch() = 0;
};

// Records what a thread gives to its present stream, which must be the one that was present when
// the recorder was made. Between begin() and end() the thread waits for nothing that a stream does.
//
// Tensors made meanwhile lie in memory that is the recorder's alone, and later recordings use the
// same memory again: so graphs are launched in the order in which they were recorded, those of a
// step after those of another, and nothing else reads what they compute. What a graph reads of
// other tensors must stay where it was. The recorder outlives its graphs.
class GraphRecorder {
 public:
  virtual ~GraphRecorder() = default;  // gives up what is being recorded

  virtual void begin() = 0;
  // Gives the stream what was recorded, for the first time; null where that is nothing.
  virtual std::unique_ptr<GpuGraph> end() = 0;
};

// Thread-safe. GPUs are named by their numbers, from 0, as the CUDA runtime counts them. What fails
// throws DeviceError.
class Gpus {
 public:
  virtual ~Gpus() = default;

  virtual int count() const = 0;
  virtual std::string name(int number) const = 0;
  // All that the GPU has, in use or not.
  virtual std::int64_t memory_bytes(int number) const = 0;
  // Where tensors on GPU `number` lie.
  virtual at::Device device(int number) const = 0;

  // Makes GPU `number` and its `stream` (null: the default one) the present ones of the calling
  // thread, for the runtime and for libtorch, until the scope goes.
  virtual std::unique_ptr<GpuScope> enter(int number, CUstream_st* stream) const = 0;
  // Makes GPU `number` the present one of the calling thread until another is: what frees or ends
  // may else begin to use GPU 0.
  virtual void make_present(int number) const = 0;
  // The stream that the calling thread computes on.
  virtual CUstream_st* stream() const = 0;
  // Of that stream.
  virtual std::unique_ptr<GraphRecorder> recorder() const = 0;
  // Gives that stream work of so long or longer, which computes nothing.
  virtual void occupy(double seconds) const = 0;
  // The host waits for all that this stream was given.
  virtual void synchronize() const = 0;

  // Gives back the memory that libtorch keeps of tensors that are gone: it is tied to the streams
  // that they were made on, so that nobody else could use it. To be called while those still live.
  // Keeps it while ranks of this process draw by NCCL.
  virtual void release_memory() const = 0;

  // `gpus` by rank.
  virtual std::unique_ptr<GpuHubs> hubs(std::vector<int> gpus, GpuTransport transport) const = 0;
};

// Those of this process. Throws ConfigError, with the reason and the remedy, where it can use none.
const Gpus& gpus();

// Whether operators compute on `tensor` by the kernels with a stream, which only GPUs have.
bool on_gpu(const at::Tensor& tensor);

// An NVTX range of the calling thread, which profilers of GPUs show; each ends the one begun last.
// Nothing in a build without CUDA.
void begin_range(const char* name);
void end_range();

}  // namespace pcpp

#endif  // PCPP_GPU_GPU_H_
