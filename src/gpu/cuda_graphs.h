// CUDA graphs in libtorch's memory.
#ifndef PCPP_GPU_CUDA_GRAPHS_H_
#define PCPP_GPU_CUDA_GRAPHS_H_

#include <memory>

#include "gpu/gpu.h"

namespace pcpp {

// While one lives, release_cached_memory() leaves cuBLAS the memory that it works in: a rank of
// this or of another pipeline is about to use it, or a graph knows its address.
class WorkspaceUse {
 public:
  WorkspaceUse();
  ~WorkspaceUse();
  WorkspaceUse(const WorkspaceUse&) = delete;
  WorkspaceUse& operator=(const WorkspaceUse&) = delete;
};

// While one lives, neither recorders nor release_cached_memory() give memory back: cudaFree waits
// for its device and for that device's peers, and what runs there may wait for what a rank has yet
// to launch.
class MemoryHold {
 public:
  MemoryHold();
  ~MemoryHold();
  MemoryHold(const MemoryHold&) = delete;
  MemoryHold& operator=(const MemoryHold&) = delete;
};

// As Gpus::recorder() and Gpus::release_memory().
std::unique_ptr<GraphRecorder> make_graph_recorder();
void release_cached_memory();

}  // namespace pcpp

#endif  // PCPP_GPU_CUDA_GRAPHS_H_
