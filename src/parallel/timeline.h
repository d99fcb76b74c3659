// When things were on a rank's stream: intervals, waits and transfers.
#ifndef PCPP_PARALLEL_TIMELINE_H_
#define PCPP_PARALLEL_TIMELINE_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/deadline.h"
#include "parallel/transport.h"

namespace pcpp {

// A point in the order of a rank's stream, by a number that its timeline understands.
using Mark = std::int64_t;

// What a rank sends in one of its exchanges.
struct SentExchange {
  std::int64_t tag = 0;
  std::vector<int> peers;
  std::size_t bytes = 0;  // to all of them
};

// The time of one start of an exchange.
struct ExchangeSpan {
  ExchangeId exchange = -1;
  int interval = 0;  // in which it begins
  Mark begin = 0;
  double milliseconds = 0;
};

// One rank's, and used by its thread alone.
class Timeline {
 public:
  virtual ~Timeline();
  Timeline() = default;
  Timeline(const Timeline&) = delete;
  Timeline& operator=(const Timeline&) = delete;

  // The present point of the stream.
  virtual Mark mark() = 0;
  // When the stream passed it. On a GPU known only after drain(), and on the host's clock only
  // after keep_spans(); the time between two is always right.
  virtual Clock::time_point time_of(Mark mark) const = 0;

  // Begins an interval of the stream, which ends the one before, and returns its number, for what
  // follows.
  int begin_interval();
  int interval() const { return static_cast<int>(begins_.size()) - 1; }
  Mark begin_of(int interval) const { return begins_.at(static_cast<std::size_t>(interval)); }
  // The time from this interval's begin to the next one's: on a GPU known only after drain().
  double interval_ms(int interval) const;
  // The time in which the stream stood still in this interval's waits: whole once the interval is
  // over, on a GPU only after drain().
  double wait_ms(int interval) const { return wait_ms_.at(static_cast<std::size_t>(interval)); }

  // From here on keeps the first `most` waits and as many transfers, and counts those that follow.
  // Before the first start().
  virtual void keep_spans(std::size_t most);
  // Complete after drain(). A transfer is what the rank sends in one start of an exchange, from
  // there to the delivery of its last piece.
  const std::vector<ExchangeSpan>& waits() const { return waits_; }
  const std::vector<ExchangeSpan>& transfers() const { return transfers_; }
  std::int64_t left_out() const { return left_out_; }
  const SentExchange& sent(ExchangeId exchange) const {
    return sent_.at(static_cast<std::size_t>(exchange));
  }

  // For transports. Of each exchange in the order of their numbers.
  void add_exchange(std::int64_t tag, const Exchange& exchange);
  bool keeps_waits() const { return waits_.size() < most_spans_; }
  void add_wait(const ExchangeSpan& wait);
  // Before a start: whether what is sent is to be kept as a transfer.
  bool begin_transfer(ExchangeId exchange);
  void add_transfer(const ExchangeSpan& transfer) { transfers_.push_back(transfer); }

 private:
  std::vector<SentExchange> sent_;  // by exchange
  std::vector<Mark> begins_;        // of intervals
  std::vector<double> wait_ms_;     // likewise
  std::size_t most_spans_ = 0;      // 0: none are kept
  std::vector<ExchangeSpan> waits_;
  std::vector<ExchangeSpan> transfers_;
  std::size_t begun_transfers_ = 0;
  std::int64_t left_out_ = 0;
};

}  // namespace pcpp

#endif  // PCPP_PARALLEL_TIMELINE_H_
