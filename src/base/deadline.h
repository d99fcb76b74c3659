// A point in time after which a wait gives up.
#ifndef PCPP_BASE_DEADLINE_H_
#define PCPP_BASE_DEADLINE_H_

#include <algorithm>
#include <chrono>

namespace pcpp {

using Clock = std::chrono::steady_clock;
using Deadline = Clock::time_point;

// At most a century from now: the longest durations lie beyond what clocks can tell.
inline Deadline deadline_in(std::chrono::milliseconds duration) {
  return Clock::now() + std::min<std::chrono::milliseconds>(duration, std::chrono::years(100));
}

inline double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}
inline double milliseconds_since(Clock::time_point start) {
  return std::chrono::duration<double, std::milli>(Clock::now() - start).count();
}

}  // namespace pcpp

#endif  // PCPP_BASE_DEADLINE_H_
