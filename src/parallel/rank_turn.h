// Ranks that compute one after the other.
#ifndef PCPP_PARALLEL_RANK_TURN_H_
#define PCPP_PARALLEL_RANK_TURN_H_

#include <chrono>
#include <optional>

#include "parallel/transport.h"

namespace pcpp {

// One rank's place in the order of the ranks, round by round: what a rank's stream is given between
// take() and pass() comes after what that of the rank before it was given there. Within a round a
// rank must not wait for a later one before it has passed; between two rounds all wait for each
// other. Used by the rank's thread alone.
class RankTurn {
 public:
  // Made by all ranks of the transport's world, or by none. `transport` must outlive the object.
  RankTurn(Transport& transport, std::chrono::milliseconds timeout);

  // Throw as Transport::wait() does.
  void take();
  void pass();

 private:
  void wait(ExchangeId exchange) { transport_.wait(exchange, deadline_in(timeout_)); }

  Transport& transport_;
  const std::chrono::milliseconds timeout_;
  std::optional<ExchangeId> from_before_;  // absent: the first rank's
  std::optional<ExchangeId> to_next_;      // absent: the last one's
  bool has_passed_ = false;
};

}  // namespace pcpp

#endif  // PCPP_PARALLEL_RANK_TURN_H_
