// Runs one function on every rank, each on a thread of its own.
#ifndef PCPP_PARALLEL_RANK_GROUP_H_
#define PCPP_PARALLEL_RANK_GROUP_H_

#include <functional>

#include "parallel/rank_threads.h"
#include "parallel/transport.h"

namespace pcpp {

// Calls function(transport) once for each rank of `hub`, rank r on thread r of `threads` (in the
// shorter form on one that ends with the call), and returns when all have ended. If one throws, the
// hub is aborted, so that the others end at their next wait, and the first exception is thrown
// again here; an error of one of the kinds of pcpp/error.h but Cancelled keeps it and gains the
// rank's number in its text.
void run_ranks(Hub& hub, const std::function<void(Transport&)>& function, RankThreads& threads);
void run_ranks(Hub& hub, const std::function<void(Transport&)>& function);

}  // namespace pcpp

#endif  // PCPP_PARALLEL_RANK_GROUP_H_
