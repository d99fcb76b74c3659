// Delivers pieces at the speed of an emulated link.
#ifndef PCPP_PARALLEL_LINK_COURIER_H_
#define PCPP_PARALLEL_LINK_COURIER_H_

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <queue>
#include <thread>
#include <vector>

#include "base/deadline.h"
#include "parallel/local_transport.h"
#include "pcpp/world.h"

namespace pcpp {

// When pieces arrive: arithmetic on points in time, without a clock of its own. Not thread-safe.
class LinkLanes {
 public:
  LinkLanes(const Link& link, int ranks);

  // A piece that both ends are ready for at `ready` begins once the sender's lane out and the
  // receiver's lane in (of a shared link: the one medium) are free, holds them for bytes /
  // bandwidth, and is there the latency later. Pieces take their lanes in the order of the calls.
  Clock::time_point arrival(const Transfer& transfer, Clock::time_point ready);

 private:
  double bytes_per_second_;
  Clock::duration latency_;
  bool shared_;
  std::vector<Clock::time_point> out_free_;  // by rank; the first alone where shared
  std::vector<Clock::time_point> in_free_;
};

// Runs each delivery on one thread of its own when the piece arrives. The clock is read once for
// each piece, in carry(): a delivery that comes late does not delay those after it. How late the
// system wakes a thread (some 0.1 ms) adds to what a rank waits.
class LinkCourier final : public Courier {
 public:
  LinkCourier(const Link& link, int ranks);
  ~LinkCourier() override;

  void carry(const Transfer& transfer, Delivery delivery) override;
  void drop() override;

 private:
  struct Piece {
    Clock::time_point arrival;
    std::int64_t number = 0;  // in the order of carry(), for pieces that arrive together
    Delivery delivery;

    friend bool operator>(const Piece& a, const Piece& b) {
      return a.arrival != b.arrival ? a.arrival > b.arrival : a.number > b.number;
    }
  };
  using Queue = std::priority_queue<Piece, std::vector<Piece>, std::greater<>>;

  void run();

  std::mutex mutex_;
  std::condition_variable changed_;
  LinkLanes lanes_;
  Queue under_way_;
  std::int64_t carried_ = 0;
  bool delivering_ = false;
  bool closing_ = false;
  std::jthread thread_;  // the last to be made, the first to end
};

}  // namespace pcpp

#endif  // PCPP_PARALLEL_LINK_COURIER_H_
