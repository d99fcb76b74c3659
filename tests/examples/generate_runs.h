// Runs of `generate` in a folder of their own.
#ifndef PCPP_TESTS_EXAMPLES_GENERATE_RUNS_H_
#define PCPP_TESTS_EXAMPLES_GENERATE_RUNS_H_

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <vector>

#include "examples/parsing.h"
#include "examples/process.h"
#include "generate_options.h"
#include "io/files.h"

namespace pcpp {

namespace fs = std::filesystem;
using testing::Outcome;
using testing::run_process;
using Words = std::vector<std::string>;

inline std::string data(const std::string& name) {
  return (fs::path(PCPP_TEST_DATA) / name).string();
}

class GenerateRuns : public ::testing::Test {
 protected:
  GenerateRuns() { unsetenv("PCPP_LOG"); }  // what it asks for would be counted with the lines

  std::string place(const std::string& name) const { return (folder_.path() / name).string(); }

  // A run of a tiny model with a text encoder and a VAE.
  static Words words(const Words& more) {
    Words words = {
        PCPP_GENERATE, "--model", data("models/sd15"), "--width", "64", "--height", "128",
        "--steps",     "6",       "--sync-steps",      "2"};
    words.insert(words.end(), more.begin(), more.end());
    return words;
  }
  static Outcome generate(const Words& more) { return run_process(words(more)); }

  // Of the command line alone, without a process.
  static Outcome parsed(const Words& more) {
    return testing::run_parser(examples::parse_command_line, words(more));
  }
  // Without a process where `status` says that the command line is wrong.
  static Outcome refused(const Words& more, int status) {
    return status == 2 ? parsed(more) : generate(more);
  }

  std::vector<std::string> files() const {
    std::vector<std::string> names;
    for (const auto& entry : fs::directory_iterator(folder_.path())) {
      names.push_back(entry.path().filename().string());
    }
    std::sort(names.begin(), names.end());
    return names;
  }

  testing::TemporaryFolder folder_;
};

}  // namespace pcpp

#endif  // PCPP_TESTS_EXAMPLES_GENERATE_RUNS_H_
