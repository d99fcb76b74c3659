#include "other_programs.h"

#include <sched.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <sstream>
#include <string>
#include <utility>

namespace pcpp::benchmarks {

namespace {

double seconds_of(int who) {
  rusage usage{};
  getrusage(who, &usage);
  const auto seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

double own_seconds() { return seconds_of(RUSAGE_SELF) + seconds_of(RUSAGE_CHILDREN); }

// Those that this process may use.
std::set<int> own_cores() {
  cpu_set_t allowed;
  CPU_ZERO(&allowed);
  std::set<int> cores;
  if (sched_getaffinity(0, sizeof(allowed), &allowed) != 0) return cores;
  for (int core = 0; core < CPU_SETSIZE; ++core) {
    if (CPU_ISSET(core, &allowed)) cores.insert(core);
  }
  return cores;
}

std::optional<CoreSeconds> seconds_so_far(const std::set<int>& cores) {
  std::ifstream stat("/proc/stat");
  return core_seconds(stat, cores);
}

// Of a line of /proc/stat from behind its name. Guests' time is a part of the users'.
std::optional<CoreSeconds> seconds_in(std::istringstream line) {
  const auto ticks = static_cast<double>(sysconf(_SC_CLK_TCK));
  double user = 0;
  double nice = 0;
  double system = 0;
  double idle = 0;
  double waiting = 0;
  double interrupts = 0;
  double soft_interrupts = 0;
  double stolen = 0;
  line >> user >> nice >> system >> idle >> waiting >> interrupts >> soft_interrupts >> stolen;
  if (!line) return std::nullopt;
  return CoreSeconds{(user + nice + system + interrupts + soft_interrupts + stolen) / ticks,
                     (idle + waiting) / ticks};
}

}  // namespace

std::optional<CoreSeconds> core_seconds(std::istream& stat, const std::set<int>& cores) {
  CoreSeconds all;
  std::size_t found = 0;
  for (std::string line; std::getline(stat, line);) {
    std::istringstream words(line);
    std::string name;
    int core = 0;
    words >> name;
    if (!name.starts_with("cpu") || !(std::istringstream(name.substr(3)) >> core)) continue;
    if (!cores.contains(core)) continue;
    const std::optional<CoreSeconds> one = seconds_in(std::move(words));
    if (!one) return std::nullopt;
    all.busy += one->busy;
    all.idle += one->idle;
    ++found;
  }
  return found == cores.size() && found > 0 ? std::optional(all) : std::nullopt;
}

OtherPrograms::OtherPrograms()
    : cores_(own_cores()), begin_(seconds_so_far(cores_)), own_begin_(own_seconds()) {}

std::optional<CoreShares> OtherPrograms::shares() const {
  const std::optional<CoreSeconds> now = seconds_so_far(cores_);
  if (!begin_ || !now) return std::nullopt;
  const double busy = now->busy - begin_->busy;
  const double idle = now->idle - begin_->idle;
  if (busy + idle <= 0) return std::nullopt;
  const double cores_a_second = static_cast<double>(cores_.size()) / (busy + idle);
  const double others = busy - (own_seconds() - own_begin_);
  return CoreShares{std::max(0.0, others) * cores_a_second, idle * cores_a_second};
}

}  // namespace pcpp::benchmarks
