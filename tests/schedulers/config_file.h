// A scheduler_config.json for one test.
#ifndef PCPP_TESTS_SCHEDULERS_CONFIG_FILE_H_
#define PCPP_TESTS_SCHEDULERS_CONFIG_FILE_H_

#include <filesystem>
#include <memory>
#include <string>

#include "schedulers/scheduler.h"

namespace pcpp {

// The scheduler made from a file that holds `text`, under a temporary name that ends in
// scheduler_config.json and is gone on return.
std::unique_ptr<Scheduler> scheduler_from(const std::string& text,
                                          const SchedulerChoice& choice = {},
                                          OutdatedValues outdated = OutdatedValues::keep);

}  // namespace pcpp

#endif  // PCPP_TESTS_SCHEDULERS_CONFIG_FILE_H_
