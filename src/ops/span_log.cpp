#include "ops/span_log.h"

#include <stdexcept>
#include <utility>

#include "base/check.h"

namespace pcpp {

namespace {

thread_local SpanLog* current_log = nullptr;

}  // namespace

SpanLog::SpanLog(Timeline& timeline, std::size_t most) : timeline_(timeline), most_(most) {
  check<std::logic_error>(current_log == nullptr, "a thread has one log of spans at most");
  current_log = this;
}

SpanLog::~SpanLog() { current_log = nullptr; }

SpanLog* SpanLog::current() { return current_log; }

std::size_t SpanLog::begin(const char* name) {
  if (failure_) std::rethrow_exception(std::exchange(failure_, nullptr));
  const int depth = depth_++;
  if (spans_.size() == most_) {
    ++left_out_;
    return most_;
  }
  const Mark mark = timeline_.mark();
  spans_.push_back({name, depth, timeline_.interval(), mark, mark});
  return spans_.size() - 1;
}

void SpanLog::end(std::size_t span) noexcept {
  --depth_;
  if (span >= most_) return;
  try {
    spans_[span].end = timeline_.mark();
  } catch (...) {
    failure_ = std::current_exception();
  }
}

}  // namespace pcpp
