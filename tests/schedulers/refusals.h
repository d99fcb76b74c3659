// What schedulers' files and steps are refused for.
#ifndef PCPP_TESTS_SCHEDULERS_REFUSALS_H_
#define PCPP_TESTS_SCHEDULERS_REFUSALS_H_

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "pcpp/error.h"
#include "schedulers/config_file.h"

namespace pcpp {

// A config of the class with more keys: `rest` is empty or begins with a comma.
inline std::string config_of(const std::string& class_name, const std::string& rest = "") {
  return R"({"_class_name": ")" + class_name + "\"" + rest + "}";
}

template <typename E, typename Action>
void expect_error(Action action, const std::vector<std::string>& parts) {
  try {
    action();
    ADD_FAILURE() << "no error";
  } catch (const E& error) {
    for (const std::string& part : parts) {
      EXPECT_NE(std::string(error.what()).find(part), std::string::npos)
          << "'" << part << "' is not in: " << error.what();
    }
  }
}

struct Refusal {
  std::string key_and_value;
  std::vector<std::string> named;
};

inline void expect_refused(const std::string& class_name, const std::vector<Refusal>& refusals) {
  for (const Refusal& refusal : refusals) {
    SCOPED_TRACE(class_name + ": " + refusal.key_and_value);
    expect_error<CheckpointError>(
        [&] { scheduler_from(config_of(class_name, ", " + refusal.key_and_value)); },
        refusal.named);
  }
}

}  // namespace pcpp

#endif  // PCPP_TESTS_SCHEDULERS_REFUSALS_H_
