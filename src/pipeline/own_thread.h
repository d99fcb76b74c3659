// Computing with libtorch's threads, outside of ranks.
#ifndef PCPP_PIPELINE_OWN_THREAD_H_
#define PCPP_PIPELINE_OWN_THREAD_H_

#include <c10/core/InferenceMode.h>

#include <future>
#include <type_traits>

#include "base/threads.h"

namespace pcpp {

// Calls function() on a thread of its own in inference mode and returns what it returns. The
// threads of OpenMP that libtorch computes with belong to the thread that calls it, and end with
// it. Left behind by a caller, they would be counted with those of the ranks, and of more threads
// than cores OpenMP has each sleep wherever it waits for another.
template <typename Function>
auto on_own_thread(const Function& function) {
  std::packaged_task<std::invoke_result_t<Function>()> task([&function] {
    const c10::InferenceMode inference;
    return function();
  });
  make_thread([&task] { task(); }).join();
  return task.get_future().get();
}

}  // namespace pcpp

#endif  // PCPP_PIPELINE_OWN_THREAD_H_
