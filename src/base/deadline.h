// A point in time after which a wait gives up.
#ifndef PCPP_BASE_DEADLINE_H_
#define PCPP_BASE_DEADLINE_H_

#include <chrono>

namespace pcpp {

using Clock = std::chrono::steady_clock;
using Deadline = Clock::time_point;

inline Deadline deadline_in(std::chrono::milliseconds duration) { return Clock::now() + duration; }

inline double milliseconds_since(Clock::time_point start) {
  return std::chrono::duration<double, std::milli>(Clock::now() - start).count();
}

}  // namespace pcpp

#endif  // PCPP_BASE_DEADLINE_H_
