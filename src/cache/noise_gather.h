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
// buffers two steps later. One object for each rank and request, used by that rank's thread alone.
class NoiseGather {
 public:
  // `plan` and `transport` must outlive the object.
  NoiseGather(const ExchangePlan& plan, Transport& transport, std::chrono::milliseconds timeout);

  // Where this rank writes its band before it calls run(): plan.noise_bytes(rank).
  std::byte* own() const { return bands_[static_cast<std::size_t>(rank_)]; }
  // Throws TransportError past the deadline.
  void run();
  // After run(): the band of `rank`, until this rank's next run().
  const std::byte* band(int rank) const { return bands_.at(static_cast<std::size_t>(rank)); }

  // Of the last run().
  double wait_ms() const { return wait_ms_; }
  std::int64_t sent_bytes() const { return sent_bytes_; }

 private:
  Transport& transport_;
  const std::chrono::milliseconds timeout_;
  const int rank_;
  std::vector<std::byte*> bands_;  // by rank
  ExchangeId exchange_ = -1;
  std::int64_t sent_bytes_ = 0;
  double wait_ms_ = 0;
};

}  // namespace pcpp

#endif  // PCPP_CACHE_NOISE_GATHER_H_
