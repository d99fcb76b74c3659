// CUDA graphs in libtorch's memory.
#ifndef PCPP_GPU_CUDA_GRAPHS_H_
#define PCPP_GPU_CUDA_GRAPHS_H_

#include <memory>

#include "gpu/gpu.h"

namespace pcpp {

// As Gpus::recorder() and Gpus::release_memory().
std::unique_ptr<GraphRecorder> make_graph_recorder();
void release_cached_memory();

}  // namespace pcpp

#endif  // PCPP_GPU_CUDA_GRAPHS_H_
