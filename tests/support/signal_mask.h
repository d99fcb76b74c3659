// Which signals a thread takes.
#ifndef PCPP_TESTS_SUPPORT_SIGNAL_MASK_H_
#define PCPP_TESTS_SUPPORT_SIGNAL_MASK_H_

#include <csignal>
#include <vector>

namespace pcpp {

// Those of `signals` that the calling thread blocks.
inline std::vector<int> blocked_of(std::vector<int> signals) {
  sigset_t mask;
  pthread_sigmask(SIG_SETMASK, nullptr, &mask);
  std::erase_if(signals, [&](int signal) { return sigismember(&mask, signal) != 1; });
  return signals;
}

}  // namespace pcpp

#endif  // PCPP_TESTS_SUPPORT_SIGNAL_MASK_H_
