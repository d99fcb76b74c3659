// The library's threads.
#ifndef PCPP_BASE_THREADS_H_
#define PCPP_BASE_THREADS_H_

#include <cfenv>
#include <csignal>
#include <system_error>
#include <thread>
#include <utility>

#include "base/check.h"

namespace pcpp {

// While it lives, the calling thread takes only the signals that a fault of its own raises, and a
// thread that it makes begins with the same and keeps it.
class SignalsBlocked {
 public:
  SignalsBlocked();
  ~SignalsBlocked();
  SignalsBlocked(const SignalsBlocked&) = delete;
  SignalsBlocked& operator=(const SignalsBlocked&) = delete;

 private:
  sigset_t before_;
};

// While it lives, the calling thread, and a thread that it makes from its beginning on, rounds to
// nearest and keeps subnormal numbers, as every program begins.
class DefaultFloats {
 public:
  DefaultFloats();
  ~DefaultFloats();
  DefaultFloats(const DefaultFloats&) = delete;
  DefaultFloats& operator=(const DefaultFloats&) = delete;

 private:
  std::fenv_t before_;
};

// A thread that calls function(), with a stop token where it takes one, whatever the caller's
// rounding. No handler of the host's signals runs on it, nor on the threads that it makes: oneDNN's
// float32 products move the stack pointer into the heap, where a handler's frame would overwrite
// what lies below. Throws DeviceError where the system refuses another thread.
template <typename Function>
std::jthread make_thread(Function&& function) {
  const SignalsBlocked blocked;
  const DefaultFloats floats;
  try {
    return std::jthread(std::forward<Function>(function));
  } catch (const std::system_error& error) {
    fail<DeviceError>(
        "the system makes no more threads ({}): take fewer ranks, or raise the limit "
        "on processes or memory (ulimit -u, ulimit -v, the container's)",
        error.code().message());
  }
}

}  // namespace pcpp

#endif  // PCPP_BASE_THREADS_H_
