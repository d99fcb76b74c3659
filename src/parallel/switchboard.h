// Where the ends of the ranks' pieces meet, for ranks that are threads of one process.
#ifndef PCPP_PARALLEL_SWITCHBOARD_H_
#define PCPP_PARALLEL_SWITCHBOARD_H_

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <tuple>
#include <vector>

#include "parallel/transport.h"

namespace pcpp {

// Knows which ends belong together, which have started and what has been delivered; moves nothing
// itself. Thread-safe.
class Switchboard {
 public:
  // One direction between two ranks under one tag. What it says of the pieces stays as it is once
  // both ends are connected; the rest belongs to the switchboard.
  struct Channel {
    std::int64_t tag = 0;
    SendPiece send;        // send.peer receives
    ReceivePiece receive;  // receive.peer sends
    bool has_send = false;
    bool has_receive = false;
    std::int64_t sends_started = 0;
    std::int64_t receives_started = 0;
    std::int64_t delivered = 0;
    Clock::time_point delivered_at;  // the last one
  };
  // One rank's ends of an exchange, and how often it has started them.
  struct Ends {
    int rank = 0;
    std::vector<Channel*> sends;
    std::vector<Channel*> receives;
    std::int64_t generation = 0;
  };

  Ends connect(std::int64_t tag, int rank, const Exchange& exchange);

  // Calls `matched` for each channel whose other end has started too: the callee, or whom it
  // charges, delivers the piece and calls delivered(). Throws TransportError where the two ends
  // disagree on the bytes.
  void start(Ends& ends, const std::function<void(Channel&)>& matched);
  void delivered(Channel& channel);

  // Whether all that was started of `ends` has been delivered.
  bool is_delivered(const Ends& ends);
  // Returns when all that was started of `ends` has been delivered. Throws TransportError past the
  // deadline, and as check_running() does. Called by the rank's own thread.
  void wait(const Ends& ends, Deadline deadline);

  // When the last piece that was sent of `ends` was delivered: after wait(), with something sent.
  Clock::time_point last_delivery(const Ends& ends);

  // Makes every present and later wait for what has not arrived throw TransportError with this
  // text. The first call counts.
  void abort(const std::string& reason);
  // Likewise Cancelled, which comes first.
  void stop();
  // Throws TransportError after abort(), Cancelled after stop().
  void check_running();

 private:
  using ChannelKey = std::tuple<std::int64_t, int, int>;  // tag, from, to

  // A rank in wait(): woken once, by the last of what it waits for.
  struct Waiter {
    std::int64_t tag = 0;
    std::ptrdiff_t open = 0;  // pieces that are not delivered
    std::condition_variable changed;
  };

  bool start(Channel& channel, std::int64_t Channel::*started);
  // Under the mutex.
  bool is_running() const { return abort_reason_.empty() && !is_stopped_; }
  void check_is_running() const;
  void wake_all();

  std::mutex mutex_;
  std::map<ChannelKey, Channel> channels_;
  std::map<int, Waiter*> waiters_;  // by rank, whose thread is one
  std::string abort_reason_;
  bool is_stopped_ = false;
};

}  // namespace pcpp

#endif  // PCPP_PARALLEL_SWITCHBOARD_H_
