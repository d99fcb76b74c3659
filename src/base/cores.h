// The cores that this process may use.
#ifndef PCPP_BASE_CORES_H_
#define PCPP_BASE_CORES_H_

#include <optional>
#include <string_view>

namespace pcpp {

// Those that the system schedules it on, or fewer where a container's quota (cgroup v2's cpu.max)
// is worth fewer; at least 1.
int usable_cores();

// What the text of a cpu.max ("QUOTA PERIOD", both in microseconds) is worth in cores, rounded up;
// absent for "max", which is no limit, and for anything else.
std::optional<int> cores_of_quota(std::string_view cpu_max);

}  // namespace pcpp

#endif  // PCPP_BASE_CORES_H_
