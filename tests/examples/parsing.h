// What a program's command line makes it do before it does anything, without starting it.
#ifndef PCPP_TESTS_EXAMPLES_PARSING_H_
#define PCPP_TESTS_EXAMPLES_PARSING_H_

#include <gtest/gtest.h>

#include <string>
#include <variant>
#include <vector>

#include "examples/process.h"

namespace pcpp::testing {

inline constexpr int kGoesOn = -1;

// The outcome of a run that `parse` ends, given its words, of which the first is the program;
// kGoesOn as its status where it does not.
template <typename Options>
Outcome run_parser(std::variant<Options, int> (*parse)(int, char**),
                   std::vector<std::string> words) {
  std::vector<char*> arguments;
  for (std::string& word : words) arguments.push_back(word.data());
  ::testing::internal::CaptureStdout();
  ::testing::internal::CaptureStderr();
  const std::variant<Options, int> parsed =
      parse(static_cast<int>(arguments.size()), arguments.data());
  const int* status = std::get_if<int>(&parsed);
  return {status == nullptr ? kGoesOn : *status, ::testing::internal::GetCapturedStdout(),
          ::testing::internal::GetCapturedStderr()};
}

}  // namespace pcpp::testing

#endif  // PCPP_TESTS_EXAMPLES_PARSING_H_
