#include "schedulers/config_file.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>

#include "io/json_file.h"

namespace pcpp {
namespace {

struct TemporaryFile {
  std::filesystem::path path;
  ~TemporaryFile() {
    std::error_code ignored;
    std::filesystem::remove(path, ignored);
  }
};

}  // namespace

std::unique_ptr<Scheduler> scheduler_from(const std::string& text, const SchedulerChoice& choice,
                                          OutdatedValues outdated) {
  const TemporaryFile file{std::filesystem::path(::testing::TempDir()) /
                           (std::to_string(getpid()) + "_scheduler_config.json")};
  std::ofstream(file.path) << text;
  return make_scheduler(read_json_file(file.path), file.path.string(), choice, outdated);
}

}  // namespace pcpp
