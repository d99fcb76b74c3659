// Which part of a network a rank is in, told by operators and blocks while they run.
#ifndef PCPP_OPS_SPAN_LOG_H_
#define PCPP_OPS_SPAN_LOG_H_

#include <cstddef>
#include <cstdint>
#include <exception>
#include <string>
#include <vector>

#include "gpu/gpu.h"
#include "parallel/timeline.h"

namespace pcpp {

// Collects the spans of this thread's SpanScopes from its construction to its destruction; there is
// one at most. Its marks are the timeline's: of what the thread gives to its stream.
class SpanLog {
 public:
  struct Span {
    const char* name = nullptr;
    int depth = 0;     // how many others it lies in
    int interval = 0;  // of the timeline
    Mark begin = 0;
    Mark end = 0;
  };

  // Keeps the `most` spans that begin first, so that what a kept one lies in is kept too, and
  // counts the others. `timeline` must outlive the log.
  SpanLog(Timeline& timeline, std::size_t most);
  ~SpanLog();
  SpanLog(const SpanLog&) = delete;
  SpanLog& operator=(const SpanLog&) = delete;

  // In the order of their begins.
  const std::vector<Span>& spans() const {
    if (failure_) std::rethrow_exception(failure_);
    return spans_;
  }
  std::int64_t left_out() const { return left_out_; }

  // This thread's log; null where nobody asks.
  static SpanLog* current();

 private:
  friend class SpanScope;
  std::size_t begin(const char* name);
  void end(std::size_t span) noexcept;

  Timeline& timeline_;
  const std::size_t most_;
  int depth_ = 0;
  std::vector<Span> spans_;
  std::int64_t left_out_ = 0;
  // Of an end, in a destructor: thrown by the next begin, or by spans().
  std::exception_ptr failure_;
};

// A part of what this thread computes, from here to the end of the block: a span where the thread
// has a log, and an NVTX range where the library is built for GPUs. `name` must outlive the log.
class SpanScope {
 public:
  explicit SpanScope(const char* name) : log_(SpanLog::current()) {
    begin_range(name);
    if (log_ != nullptr) span_ = log_->begin(name);
  }
  explicit SpanScope(const std::string& name) : SpanScope(name.c_str()) {}
  ~SpanScope() {
    if (log_ != nullptr) log_->end(span_);
    end_range();
  }
  SpanScope(const SpanScope&) = delete;
  SpanScope& operator=(const SpanScope&) = delete;

 private:
  SpanLog* log_;
  std::size_t span_ = 0;
};

}  // namespace pcpp

#endif  // PCPP_OPS_SPAN_LOG_H_
