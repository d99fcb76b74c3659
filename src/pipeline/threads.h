// How many threads libtorch computes with.
#ifndef PCPP_PIPELINE_THREADS_H_
#define PCPP_PIPELINE_THREADS_H_

#include "pcpp/world.h"

namespace pcpp {

// The most threads that OpenMP lets one thread compute with, by OMP_THREAD_LIMIT and
// OMP_MAX_ACTIVE_LEVELS. oneDNN, told of more, leaves a part of its results unwritten.
int most_threads();

// For what the calling thread, one of the library's, computes from here on. libtorch has also one
// number for the process, which a thread takes when it first computes: it stays the host's. They
// are as many whatever the load (OMP_DYNAMIC). Throws ConfigError for more than most_threads().
void set_threads(int count);

// For what only one thread does outside of a world's ranks: the threads of all of them, as far as
// there are cores and OpenMP allows.
void use_all_threads(const World& world);

}  // namespace pcpp

#endif  // PCPP_PIPELINE_THREADS_H_
