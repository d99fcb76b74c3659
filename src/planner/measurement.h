// What this machine's operators cost, timed inside real steps.
#ifndef PCPP_PLANNER_MEASUREMENT_H_
#define PCPP_PLANNER_MEASUREMENT_H_

#include <chrono>
#include <functional>
#include <stop_token>

#include "models/unet.h"
#include "parallel/transport.h"
#include "pcpp/plan.h"
#include "planner/network_work.h"

namespace pcpp {

// Ranks that can be timed.
struct MeasuredRanks {
  int count = 1;  // at most
  // A rank's network, whose weights may be any.
  std::function<const UNet&(int rank)> unet;
  // Calls body(transport) for so many ranks, each on a thread of its own that computes on the
  // rank's device, and returns once all have ended.
  std::function<void(int ranks, const std::function<void(Transport&)>& body)> run;
  std::chrono::milliseconds timeout;  // what they wait for each other at most
};

// A profile of these ranks at this size, without name and source: one rank alone, then 2, 4, ...
// and all at once, with the most and the least reading and, with two branches, split guidance.
// Steps run as a request's do, with real caches between the ranks. Between GPUs the link is what
// the fastest transfer made of it; between ranks on CPU cores it is memory. Throws Cancelled, from
// within a step, once `stop` is requested.
DeviceProfile measured_profile(const MeasuredRanks& ranks, const WorkShape& shape, DataType dtype,
                               const std::stop_token& stop = {});

}  // namespace pcpp

#endif  // PCPP_PLANNER_MEASUREMENT_H_
