#include "base/cores.h"

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

int usable_cores() {
  std::ifstream file("/sys/fs/cgroup/cpu.max");
  std::string line;
  std::getline(file, line);
  const int cores = scheduled_cores();
  return std::max(1, std::min(cores, cores_of_quota(line).value_or(cores)));
}

}  // namespace pcpp
