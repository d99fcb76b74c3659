#include "pipeline/step_graphs.h"

#include <algorithm>
#include <utility>

#include "base/check.h"

namespace pcpp {

StepGraphs::StepGraphs(Transport& transport, std::chrono::milliseconds timeout,
                       std::stop_token stop)
    : ForwardingTransport(transport), timeout_(timeout), stop_(std::move(stop)) {}

bool StepGraphs::run(const std::function<void()>& step) {
  last_ = 1 - last_;
  Recording& recording = recordings_[last_];
  if (!recording.empty()) {
    repeat(recording);
    return false;
  }
  flush(deadline_in(timeout_));
  if (!recorder_) recorder_ = gpus().recorder();
  recorder_->begin();
  is_recording_ = true;
  step();
  is_recording_ = false;
  recording.push_back({recorder_->end(), {}});
  return true;
}

void StepGraphs::repeat(const Recording& recording) const {
  for (const Segment& segment : recording) {
    check_not_stopped(stop_);
    if (segment.graph) segment.graph->launch();
    if (segment.exchange) segment.exchange();
  }
}

void StepGraphs::cut(const std::function<void()>& exchange) {
  recordings_[last_].push_back({recorder_->end(), exchange});
  exchange();
  flush(deadline_in(timeout_));  // another rank may be the one that records
  recorder_->begin();
}

void StepGraphs::clear() {
  recordings_ = {};
  recorder_.reset();
}

int StepGraphs::count() const {
  return static_cast<int>(std::ranges::count_if(
      recordings_[last_], [](const Segment& segment) { return segment.graph != nullptr; }));
}

void StepGraphs::start(ExchangeId exchange) {
  if (!is_recording_) return ForwardingTransport::start(exchange);
  cut([this, exchange] { ForwardingTransport::start(exchange); });
}

void StepGraphs::wait(ExchangeId exchange, Deadline deadline) {
  if (!is_recording_) return ForwardingTransport::wait(exchange, deadline);
  cut([this, exchange] { ForwardingTransport::wait(exchange, deadline_in(timeout_)); });
}

}  // namespace pcpp
