// Values that are known by name.
#ifndef PCPP_BASE_NAMED_H_
#define PCPP_BASE_NAMED_H_

#include <fmt/format.h>

#include <string>
#include <vector>

#include "base/check.h"
#include "base/excerpt.h"

namespace pcpp {

// The one of `known` with the name. Throws ConfigError where there is none: `text` with the name
// and with the names that there are.
template <typename Named>
const Named& named_in(const std::vector<Named>& known, const std::string& name,
                      fmt::format_string<std::string, std::string&> text) {
  std::string names;
  for (const Named& each : known) {
    if (each.name == name) return each;
    names += (names.empty() ? "" : ", ") + each.name;
  }
  fail<ConfigError>(text, excerpt(name), names);
}

}  // namespace pcpp

#endif  // PCPP_BASE_NAMED_H_
