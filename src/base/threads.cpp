#include "base/threads.h"

namespace pcpp {

SignalsBlocked::SignalsBlocked() {
  sigset_t signals;
  sigfillset(&signals);
  for (const int of_a_fault : {SIGABRT, SIGBUS, SIGFPE, SIGILL, SIGSEGV, SIGSYS, SIGTRAP}) {
    sigdelset(&signals, of_a_fault);
  }
  pthread_sigmask(SIG_SETMASK, &signals, &before_);
}

SignalsBlocked::~SignalsBlocked() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }

DefaultFloats::DefaultFloats() {
  std::fegetenv(&before_);
  std::fesetenv(FE_DFL_ENV);
}

DefaultFloats::~DefaultFloats() { std::fesetenv(&before_); }

}  // namespace pcpp
