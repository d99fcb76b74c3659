// What a network computes, told by its operators while they run.
#ifndef PCPP_OPS_WORK_H_
#define PCPP_OPS_WORK_H_

#include <ATen/core/Tensor.h>
#include <c10/core/StorageImpl.h>

#include <cstdint>
#include <exception>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/deadline.h"
#include "cache/exchange_plan.h"
#include "ops/span_log.h"
#include "parallel/timeline.h"
#include "pcpp/plan.h"

namespace pcpp {

// One call of an operator.
struct Work {
  WorkKind kind = WorkKind::elementwise;
  std::string shape = {};                     // RateCurve::shape
  double amount = 0;                          // in the kind's unit
  std::optional<SiteId> site = std::nullopt;  // of a self-attention
  std::int64_t keys = 0;  // of a self-attention: the tokens that it read; `amount` follows them
  Mark begin = 0;         // of the log's timeline
  Mark end = 0;
};

// Collects what the operators of this thread tell from its construction to its destruction; there
// is one at most. To count, call a network of WeightScope::shapes_only() on tensors without memory
// (meta); to time, one with weights.
class WorkLog {
 public:
  WorkLog();  // counts
  // Times on the stream of `timeline`, which must outlive the log.
  explicit WorkLog(Timeline& timeline);
  ~WorkLog();
  WorkLog(const WorkLog&) = delete;
  WorkLog& operator=(const WorkLog&) = delete;

  const std::vector<Work>& works() const {
    if (failure_) std::rethrow_exception(failure_);
    return works_;
  }
  // The time that telling took this thread, between none of their marks.
  double telling_seconds() const { return telling_seconds_; }
  void clear() {
    works_.clear();
    telling_seconds_ = 0;
  }
  // Only when counting: bytes read and written between the operators, and the most bytes of
  // tensors that lived at once.
  double elementwise_bytes() const { return elementwise_bytes_; }
  std::int64_t peak_bytes() const { return peak_bytes_; }

  // This thread's log; null where nobody asks.
  static WorkLog* current();

 private:
  friend class WorkScope;
  friend class OuterCall;
  void count(std::string_view name, const std::vector<at::Tensor>& inputs,
             const std::vector<at::Tensor>& outputs, bool outermost);
  Mark mark() { return timeline_ == nullptr ? 0 : timeline_->mark(); }

  Timeline* timeline_ = nullptr;  // null: counts
  std::vector<Work> works_;
  double telling_seconds_ = 0;
  int open_ = 0;  // operators and library calls that have begun
  std::uint64_t callback_ = 0;
  double elementwise_bytes_ = 0;
  std::vector<c10::weak_intrusive_ptr<c10::StorageImpl>> alive_;
  std::int64_t peak_bytes_ = 0;
  // Of a scope's end, in a destructor: thrown by the next begin, or by works().
  std::exception_ptr failure_;
};

// The call of an operator, from here to the end of the block; calls of others in it are part of it.
// `describe()` returns its Work and is called only where somebody collects it. `name` as
// SpanScope's.
class WorkScope {
 public:
  template <typename Describe>
  WorkScope(const char* name, const Describe& describe) : span_(name), log_(WorkLog::current()) {
    if (log_ == nullptr) return;
    const Clock::time_point called = Clock::now();
    begin(describe(), called);
  }
  ~WorkScope() {
    if (log_ != nullptr) end();
  }
  WorkScope(const WorkScope&) = delete;
  WorkScope& operator=(const WorkScope&) = delete;

 private:
  void begin(Work work, Clock::time_point called);
  void end() noexcept;

  SpanScope span_;
  WorkLog* log_;
  bool outermost_ = false;
  Work work_;
};

}  // namespace pcpp

#endif  // PCPP_OPS_WORK_H_
