// Published configs, and a device whose times are easy to foresee.
#ifndef PCPP_TESTS_PLANNER_CONFIGS_H_
#define PCPP_TESTS_PLANNER_CONFIGS_H_

#include <filesystem>
#include <string>

#include "models/unet_config.h"
#include "pcpp/plan.h"

namespace pcpp {

inline UNetConfig published_config(const std::string& family) {
  return read_unet_config(
      ConfigReader(std::filesystem::path(PCPP_TEST_DATA) / "models/configs" / (family + ".json")));
}

// A second a multiply-accumulate; bytes cost nothing.
inline DeviceProfile counting_profile() {
  DeviceProfile profile;
  profile.name = "counting";
  profile.source = "a test";
  for (const WorkKind kind : {WorkKind::convolution, WorkKind::linear, WorkKind::attention}) {
    profile.curves.push_back({kind, "", 1, {{1, 1}}});
  }
  for (const WorkKind kind : {WorkKind::normalisation, WorkKind::elementwise}) {
    profile.curves.push_back({kind, "", 1, {{0, 0}, {1, 0}}});
  }
  return profile;
}

}  // namespace pcpp

#endif  // PCPP_TESTS_PLANNER_CONFIGS_H_
