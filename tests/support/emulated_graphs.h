// Graphs of what emulated GPUs compute. See emulated_gpus.cpp.
#ifndef PCPP_TESTS_SUPPORT_EMULATED_GRAPHS_H_
#define PCPP_TESTS_SUPPORT_EMULATED_GRAPHS_H_

#include <functional>
#include <memory>

#include "gpu/gpu.h"

namespace pcpp {

// What a thread computes while it records is done at once, and a launch does it again with the very
// same arguments: libtorch's calls on the same tensors, whose results go to where they went first;
// kernels and copies on the same addresses. Before that all results are overwritten, as on a GPU
// another graph may have used their memory. So what was only true of the step that was recorded
// shows as a wrong picture.
std::unique_ptr<GraphRecorder> make_emulated_recorder();

// Tells the recorder of this thread, if there is one, of what it can do again.
void record_emulated(const std::function<void()>& work);
// Throws std::logic_error while this thread records: for what a GPU's host cannot do meanwhile.
void require_no_emulated_recording(const char* what);

}  // namespace pcpp

#endif  // PCPP_TESTS_SUPPORT_EMULATED_GRAPHS_H_
