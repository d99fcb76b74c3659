#include "base/cores.h"

#include <fmt/format.h>
#include <sched.h>

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <fstream>
#include <string>
#include <thread>

namespace pcpp {

namespace {

int scheduled_cores() {
  cpu_set_t allowed;
  if (sched_getaffinity(0, sizeof allowed, &allowed) == 0) return CPU_COUNT(&allowed);
  return static_cast<int>(std::thread::hardware_concurrency());
}

std::string first_line(const std::filesystem::path& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

}  // namespace

std::optional<int> cores_of_quota(std::string_view cpu_max) {
  std::int64_t quota = 0;
  std::int64_t period = 0;
  const char* const end = cpu_max.data() + cpu_max.size();
  const auto [behind, error] = std::from_chars(cpu_max.data(), end, quota);
  if (error != std::errc() || behind == end || *behind != ' ') return std::nullopt;
  if (std::from_chars(behind + 1, end, period).ec != std::errc()) return std::nullopt;
  if (quota < 1 || period < 1) return std::nullopt;
  return static_cast<int>(std::min<std::int64_t>((quota - 1) / period + 1, 1 << 20));
}

std::optional<int> cores_of_groups(const std::filesystem::path& mount, std::istream& membership) {
  std::optional<int> least;
  const auto consider = [&](std::optional<int> cores) {
    if (cores) least = std::min(*cores, least.value_or(*cores));
  };
  for (std::string line; std::getline(membership, line);) {
    const std::size_t first = line.find(':');
    const std::size_t second = line.find(':', first + 1);
    if (first == line.npos || second == line.npos) continue;
    const std::string controllers = fmt::format(",{},", line.substr(first + 1, second - first - 1));
    const bool unified = controllers == ",,";
    if (!unified && controllers.find(",cpu,") == controllers.npos) continue;
    std::filesystem::path group = std::filesystem::path(line.substr(second + 1)).relative_path();
    const std::filesystem::path root = unified ? mount : mount / "cpu";
    for (bool more = true; more; group = group.parent_path()) {
      const std::filesystem::path folder = root / group;
      consider(cores_of_quota(unified
                                  ? first_line(folder / "cpu.max")
                                  : fmt::format("{} {}", first_line(folder / "cpu.cfs_quota_us"),
                                                first_line(folder / "cpu.cfs_period_us"))));
      more = !group.empty();
    }
  }
  return least;
}

int usable_cores() {
  std::ifstream membership("/proc/self/cgroup");
  const int cores = scheduled_cores();
  return std::max(1,
                  std::min(cores, cores_of_groups("/sys/fs/cgroup", membership).value_or(cores)));
}

}  // namespace pcpp
