#include "base/link.h"

#include <cmath>
#include <string>

#include "base/check.h"
#include "base/excerpt.h"
#include "base/named.h"

namespace pcpp {

const std::vector<Link>& Link::known() {
  static const std::vector<Link> links = {
      {.name = "nvlink4", .bytes_per_second = 450e9, .latency_seconds = 2e-6},
      {.name = "pcie4x16", .bytes_per_second = 31.5e9, .latency_seconds = 5e-6},
      {.name = "pcie3x8", .bytes_per_second = 7.88e9, .latency_seconds = 5e-6},
      {.name = "ethernet100g", .bytes_per_second = 12.5e9, .latency_seconds = 10e-6},
      {.name = "ethernet25g", .bytes_per_second = 3.125e9, .latency_seconds = 20e-6},
      {.name = "ethernet10g", .bytes_per_second = 1.25e9, .latency_seconds = 30e-6}};
  return links;
}

const Link& Link::named(const std::string& name) {
  return named_in(known(), name, "link '{}' is not known; there are {}");
}

void check_link(const Link& link) {
  check<ConfigError>(std::isfinite(link.bytes_per_second) && link.bytes_per_second >= 1,
                     "link {}: {} bytes a second: a finite number, at least 1, is needed",
                     excerpt(link.name), link.bytes_per_second);
  check<ConfigError>(link.latency_seconds >= 0 && link.latency_seconds <= 60,
                     "link {}: a latency of {} s is outside [0, 60]", excerpt(link.name),
                     link.latency_seconds);
}

}  // namespace pcpp
