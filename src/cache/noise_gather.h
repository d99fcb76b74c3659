// Brings every rank's band of the noise prediction to every rank, at the end of a step.
#ifndef PCPP_CACHE_NOISE_GATHER_H_
#define PCPP_CACHE_NOISE_GATHER_H_

#include <chrono>
#include <cstddef>
#include <vector>

#include "cache/exchange_plan.h"
#include "parallel/transport.h"

namespace pcpp {

// Blocking: until a rank has every band, no step ends, which is why the stale cache may reuse its
// buffers two steps later. One object for each rank in a run of them, used by that rank's thread
// alone.
class NoiseGather {
 public:
  // `plan` and `transport` must outlive the object.
  NoiseGather(const ExchangePlan& plan, Transport& transport, std::chrono::milliseconds timeout);

  // `own` is this rank's band, plan.noise_bytes(rank); it is read on the rank's stream (see
  // Transport). Throws TransportError past the deadline.
  void run(const std::byte* own);
  // What follows run() on the rank's stream reads the band of `rank` here, until the next run().
  const std::byte* band(int rank) const { return bands_.at(static_cast<std::size_t>(rank)); }

  // Of one run().
  std::int64_t sent_bytes() const { return sent_bytes_; }

 private:
  Transport& transport_;
  const std::chrono::milliseconds timeout_;
  const int rank_;
  std::vector<std::byte*> bands_;  // by rank
  std::int64_t own_bytes_ = 0;
  ExchangeId exchange_ = -1;
  std::int64_t sent_bytes_ = 0;
};

}  // namespace pcpp

#endif  // PCPP_CACHE_NOISE_GATHER_H_
