#include "parallel/timeline.h"

#include <chrono>

namespace pcpp {

Timeline::~Timeline() = default;

int Timeline::begin_interval() {
  begins_.push_back(mark());
  wait_ms_.push_back(0);
  return interval();
}

double Timeline::interval_ms(int interval) const {
  return std::chrono::duration<double, std::milli>(time_of(begin_of(interval + 1)) -
                                                   time_of(begin_of(interval)))
      .count();
}

void Timeline::keep_spans(std::size_t most) { most_spans_ = most; }

void Timeline::add_exchange(std::int64_t tag, const Exchange& exchange) {
  SentExchange& sent = sent_.emplace_back();
  sent.tag = tag;
  sent.bytes = exchange.sent_bytes();
  for (const SendPiece& piece : exchange.sends) sent.peers.push_back(piece.peer);
}

void Timeline::add_wait(const ExchangeSpan& wait) {
  wait_ms_.at(static_cast<std::size_t>(wait.interval)) += wait.milliseconds;
  if (keeps_waits()) {
    waits_.push_back(wait);
  } else if (most_spans_ > 0) {
    ++left_out_;
  }
}

bool Timeline::begin_transfer(ExchangeId exchange) {
  if (most_spans_ == 0 || sent(exchange).bytes == 0) return false;
  if (begun_transfers_ == most_spans_) {
    ++left_out_;
    return false;
  }
  ++begun_transfers_;
  return true;
}

}  // namespace pcpp
