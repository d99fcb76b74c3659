// Seconds by a profile's curves.
#ifndef PCPP_PLANNER_COSTS_H_
#define PCPP_PLANNER_COSTS_H_

#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "pcpp/plan.h"

namespace pcpp {

const std::vector<WorkKind>& all_work_kinds();

// Throws ConfigError for a profile that no plan can be made with, as one made in code may be.
void check_profile(const DeviceProfile& profile);

// A curve between and beyond its points: linear between two; below the first and beyond the last
// along the line of the nearest two where that line has a fixed cost of at least 0 and a positive
// slope, else in proportion to the work.
double seconds_of(const RateCurve& curve, double work);

// Takes from the gather's curves what a plan adds for this link: they were timed across it.
void leave_latency_to(const Link& link, std::vector<RateCurve>& curves);

// What work costs while `devices` compute at once. A profile's curves of the smallest number of
// devices that is no smaller count, else those of the largest. Refers to the profile.
class Costs {
 public:
  // Throws ConfigError where a kind of computation has no curve.
  Costs(const DeviceProfile& profile, int devices);

  // By the curve of this shape; else by the kind's curve for any; else at the rate of the kind's
  // point that is nearest in work. 0 for exchange and gather without a curve.
  double seconds(WorkKind kind, const std::string& shape, double work) const;

 private:
  std::map<std::pair<WorkKind, std::string>, const RateCurve*> curves_;
};

}  // namespace pcpp

#endif  // PCPP_PLANNER_COSTS_H_
