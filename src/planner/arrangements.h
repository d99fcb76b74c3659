// Every way to share a picture's work, and what each is predicted to cost.
#ifndef PCPP_PLANNER_ARRANGEMENTS_H_
#define PCPP_PLANNER_ARRANGEMENTS_H_

#include <stop_token>
#include <vector>

#include "models/control_net_config.h"
#include "pcpp/plan.h"
#include "planner/network_work.h"

namespace pcpp {

// Of steps in which all ControlNets run. One device first, then each of `methods` on 2 to `devices`
// ranks (those that the picture can be cut for), guidance batched and split, bands equal and, where
// they differ, balanced by cost. Throws ConfigError for settings out of range and for a profile
// that lacks a curve, Cancelled once `stop` is requested.
std::vector<PlannedRun> plan_arrangements(const NetworkConfig& network, const WorkShape& shape,
                                          int devices, const std::vector<ParallelConfig>& methods,
                                          const DeviceProfile& profile,
                                          const std::stop_token& stop = {});

// Throws ConfigError for so many devices, or one of the methods, where that does.
void check_arrangements(int devices, const std::vector<ParallelConfig>& methods);

}  // namespace pcpp

#endif  // PCPP_PLANNER_ARRANGEMENTS_H_
