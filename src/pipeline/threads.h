// How many threads libtorch computes with.
#ifndef PCPP_PIPELINE_THREADS_H_
#define PCPP_PIPELINE_THREADS_H_

#include <ATen/Parallel.h>

namespace pcpp {

// For what the calling thread computes from here on. A thread that computes for the first time
// takes the number that was set last in the whole process, which may be another pipeline's: so
// libtorch is made to take that one before.
inline void set_threads(int count) {
  at::internal::lazy_init_num_threads();
  static_cast<void>(at::get_num_threads());
  at::set_num_threads(count);
}

}  // namespace pcpp

#endif  // PCPP_PIPELINE_THREADS_H_
