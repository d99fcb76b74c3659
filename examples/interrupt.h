// Ctrl-C as a stop request.
#ifndef PCPP_EXAMPLES_INTERRUPT_H_
#define PCPP_EXAMPLES_INTERRUPT_H_

#include <stop_token>
#include <thread>

namespace pcpp::examples {

// From its construction on, the first SIGINT, SIGTERM or SIGHUP requests a stop, and the second one
// ends the process at once; those that the process was started to ignore (nohup) it ignores.
// Construct it before any other thread starts, so that all inherit the mask.
class Interrupt {
 public:
  Interrupt();
  ~Interrupt();
  Interrupt(const Interrupt&) = delete;
  Interrupt& operator=(const Interrupt&) = delete;

  std::stop_token token() const { return stop_.get_token(); }

  // The status of a process that a SIGINT ended, as shells report it.
  static constexpr int kExitStatus = 130;

 private:
  void watch(const std::stop_token& closing);

  std::stop_source stop_;
  std::jthread watcher_;
};

}  // namespace pcpp::examples

#endif  // PCPP_EXAMPLES_INTERRUPT_H_
