#include "other_programs.h"

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <fstream>
#include <string>

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

std::optional<double> others_seconds() {
  std::ifstream stat("/proc/stat");
  const std::optional<double> all = busy_seconds(stat);
  return all ? std::optional(*all - seconds_of(RUSAGE_SELF) - seconds_of(RUSAGE_CHILDREN))
             : std::nullopt;
}

double wall_seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

}  // namespace

std::optional<double> busy_seconds(std::istream& stat) {
  std::string name;
  double user = 0;
  double nice = 0;
  double system = 0;
  double idle = 0;
  double waiting = 0;
  double interrupts = 0;
  double soft_interrupts = 0;
  double stolen = 0;
  stat >> name >> user >> nice >> system >> idle >> waiting >> interrupts >> soft_interrupts >>
      stolen;
  if (!stat || name != "cpu") return std::nullopt;
  return (user + nice + system + interrupts + soft_interrupts + stolen) /
         static_cast<double>(sysconf(_SC_CLK_TCK));
}

OtherPrograms::OtherPrograms() : begin_(others_seconds()), wall_begin_(wall_seconds()) {}

std::optional<double> OtherPrograms::cores() const {
  const std::optional<double> now = others_seconds();
  if (!begin_ || !now) return std::nullopt;
  return std::max(0.0, (*now - *begin_) / (wall_seconds() - wall_begin_));
}

}  // namespace pcpp::benchmarks
