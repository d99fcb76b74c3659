// What emulated_gpus.cpp saw of the library.
#ifndef PCPP_TESTS_SUPPORT_EMULATED_GPUS_H_
#define PCPP_TESTS_SUPPORT_EMULATED_GPUS_H_

#include <set>
#include <string>

namespace pcpp::testing {

// The NVTX ranges of the calling thread.
struct ThreadRanges {
  std::set<std::string> begun;  // ever
  int open = 0;
};
const ThreadRanges& ranges_of_thread();

// The hub of the next run of ranks says at its end that a GPU is still at work.
void leave_next_run_unfinished();

}  // namespace pcpp::testing

#endif  // PCPP_TESTS_SUPPORT_EMULATED_GPUS_H_
