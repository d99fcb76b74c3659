// How many threads libtorch computes with.
#ifndef PCPP_PIPELINE_THREADS_H_
#define PCPP_PIPELINE_THREADS_H_

#include <ATen/Parallel.h>

#include <algorithm>
#include <cstdint>

#include "pcpp/world.h"

namespace pcpp {

// For what the calling thread computes from here on. A thread that computes for the first time
// takes the number that was set last in the whole process, which may be another pipeline's: so
// libtorch is made to take that one before.
inline void set_threads(int count) {
  at::internal::lazy_init_num_threads();
  static_cast<void>(at::get_num_threads());
  at::set_num_threads(count);
}

// For what only one thread does outside of a world's ranks: the threads of all of them, as far as
// there are cores.
inline void use_all_threads(const World& world) {
  set_threads(static_cast<int>(std::min<std::int64_t>(
      World::cores(), std::int64_t{world.ranks()} * world.threads_per_rank())));
}

}  // namespace pcpp

#endif  // PCPP_PIPELINE_THREADS_H_
