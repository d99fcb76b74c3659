// The cores that this process may use.
#ifndef PCPP_BASE_CORES_H_
#define PCPP_BASE_CORES_H_

#include <filesystem>
#include <istream>
#include <optional>
#include <string_view>

namespace pcpp {

// Those that the system schedules it on, or fewer where the quota of its control group (version 2
// or 1), or of one that holds that, is worth fewer; at least 1.
int usable_cores();

// What the text of a cpu.max ("QUOTA PERIOD", both in microseconds) is worth in cores, rounded up;
// absent for "max", which is no limit, and for anything else.
std::optional<int> cores_of_quota(std::string_view cpu_max);

// The least that a quota allows the groups of `membership`, the text of /proc/self/cgroup, and
// those above them, which lie under `mount`; absent where none has a quota.
std::optional<int> cores_of_groups(const std::filesystem::path& mount, std::istream& membership);

}  // namespace pcpp

#endif  // PCPP_BASE_CORES_H_
