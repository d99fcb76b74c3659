// What this machine's operators cost, timed inside real steps.
#ifndef PCPP_PLANNER_MEASUREMENT_H_
#define PCPP_PLANNER_MEASUREMENT_H_

#include <vector>

#include "models/unet.h"
#include "pcpp/plan.h"
#include "planner/network_work.h"

namespace pcpp {

// A profile of this machine for `unet`, whose weights may be any, at this size: one rank alone,
// then 2, 4, ... and `devices` ranks at once of `threads` threads each, with the most and the least
// reading and, with two branches, split guidance. Steps run as a request's do, with real caches
// between the ranks; the link is memory.
DeviceProfile measured_profile(const UNet& unet, const WorkShape& shape, DataType dtype,
                               int devices, int threads);

}  // namespace pcpp

#endif  // PCPP_PLANNER_MEASUREMENT_H_
