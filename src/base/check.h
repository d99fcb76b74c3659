// Conditions that must hold, with an error that names the value, the rule and the remedy.
#ifndef PCPP_BASE_CHECK_H_
#define PCPP_BASE_CHECK_H_

#include <fmt/format.h>

#include <stop_token>
#include <utility>

#include "pcpp/error.h"

namespace pcpp {

// Throws E with the formatted text.
template <typename E, typename... Args>
[[noreturn]] void fail(fmt::format_string<Args...> text, Args&&... args) {
  throw E(fmt::format(text, std::forward<Args>(args)...));
}

// Throws E with the formatted text unless `condition` holds.
template <typename E, typename... Args>
void check(bool condition, fmt::format_string<Args...> text, Args&&... args) {
  if (!condition) fail<E>(text, std::forward<Args>(args)...);
}

// Throws ConfigError unless `value` is one of an enumeration's, which end with `last`: a cast may
// make any.
template <typename Enumeration>
void check_enumerator(const char* name, Enumeration value, Enumeration last) {
  const auto number = static_cast<int>(value);
  check<ConfigError>(number >= 0 && number <= static_cast<int>(last),
                     "{} is {}: the values of its enumeration end with {}", name, number,
                     static_cast<int>(last));
}

[[noreturn]] inline void fail_stopped() { fail<Cancelled>("cancelled"); }

// Throws Cancelled once a stop is requested.
inline void check_not_stopped(const std::stop_token& stop) {
  if (stop.stop_requested()) fail_stopped();
}

}  // namespace pcpp

#endif  // PCPP_BASE_CHECK_H_
