#include "interrupt.h"

#include <pthread.h>
#include <signal.h>  // sigaction is not in <csignal>
#include <unistd.h>

namespace pcpp::examples {

namespace {

sigset_t watched_signals() {
  sigset_t signals;
  sigemptyset(&signals);
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) {
    // Blocked, an ignored one would be waited for all the same.
    struct sigaction action {};
    sigaction(signal, nullptr, &action);
    if (action.sa_handler != SIG_IGN) sigaddset(&signals, signal);
  }
  return signals;
}

}  // namespace

Interrupt::Interrupt() {
  const sigset_t signals = watched_signals();
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  watcher_ = std::jthread([this](const std::stop_token& closing) { watch(closing); });
}

Interrupt::~Interrupt() = default;

void Interrupt::watch(const std::stop_token& closing) {
  const sigset_t signals = watched_signals();
  const timespec tick{.tv_sec = 0, .tv_nsec = 50'000'000};
  while (!closing.stop_requested()) {
    if (sigtimedwait(&signals, nullptr, &tick) < 0) continue;
    if (!stop_.request_stop()) _exit(kExitStatus);
  }
}

}  // namespace pcpp::examples
