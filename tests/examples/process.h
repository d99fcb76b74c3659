// Runs a program and keeps what it printed.
#ifndef PCPP_TESTS_EXAMPLES_PROCESS_H_
#define PCPP_TESTS_EXAMPLES_PROCESS_H_

#include <functional>
#include <string>
#include <vector>

namespace pcpp::testing {

struct Outcome {
  int status = 0;  // the exit status, or 128 + the signal that ended it
  std::string output;
  std::string errors;
};

// `words` begins with the program's path. `on_errors` is called with the process' id whenever more
// has come on its standard error.
Outcome run_process(
    const std::vector<std::string>& words,
    const std::function<void(int process, const std::string& errors)>& on_errors =
        [](int, const std::string&) {});

// The words that run a program with a redirection of the shell's, such as `2>&-`.
std::vector<std::string> redirected(const std::string& redirection,
                                    const std::vector<std::string>& words);

}  // namespace pcpp::testing

#endif  // PCPP_TESTS_EXAMPLES_PROCESS_H_
