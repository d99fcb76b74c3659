// What libtorch is asked for.
#ifndef PCPP_TESTS_SUPPORT_CALL_WATCH_H_
#define PCPP_TESTS_SUPPORT_CALL_WATCH_H_

#include <ATen/record_function.h>

#include <functional>
#include <memory>
#include <string>
#include <utility>

namespace pcpp {

// Tells of each call of libtorch, on the thread that makes it. One at a time.
class CallWatch {
 public:
  explicit CallWatch(std::function<void(const std::string& name)> told) {
    told_ = std::move(told);
    handle_ = at::addGlobalCallback(at::RecordFunctionCallback([](const at::RecordFunction& call) {
                                      told_(call.name());
                                      return std::unique_ptr<at::ObserverContext>();
                                    }).scopes({at::RecordScope::FUNCTION}));
  }
  ~CallWatch() { at::removeCallback(handle_); }
  CallWatch(const CallWatch&) = delete;
  CallWatch& operator=(const CallWatch&) = delete;

 private:
  static inline std::function<void(const std::string& name)> told_;
  at::CallbackHandle handle_;
};

}  // namespace pcpp

#endif  // PCPP_TESTS_SUPPORT_CALL_WATCH_H_
