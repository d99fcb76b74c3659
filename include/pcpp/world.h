// The ranks that draw a picture together.
#ifndef PCPP_WORLD_H_
#define PCPP_WORLD_H_

#include <optional>
#include <string>
#include <vector>

#include "pcpp/export.h"

namespace pcpp {

// An emulated link between ranks, for measurement: a piece of n bytes leaves when its lane is free
// and is there latency + n / bandwidth later. The time is emulated, the bytes and the picture are
// real and the same as without a link.
struct PCPP_EXPORT Link {
  std::string name;
  double bytes_per_second = 0;  // of one lane; above 0
  double latency_seconds = 0;   // at least 0
  // false: every rank has one lane for what it sends and one for what it receives. true: all pieces
  // of all ranks follow each other over one medium.
  bool shared = false;

  // The links known by name. Bandwidths are the published ones of one direction: nvlink4 (18 links
  // of 25 GB/s each: NVIDIA's H100 data sheet), pcie4x16 and pcie3x8 (16 GT/s and 8 GT/s a lane
  // with 128b/130b coding: the PCI-SIG's base specifications; packet headers are not taken off),
  // ethernet100g, ethernet25g and ethernet10g (their line rates in IEEE 802.3). Latencies are
  // plausible ones for a small message between two devices, as collective libraries report them: 2
  // us for NVLink, 5 us over PCIe, 10 us for 100 Gbit with RDMA, 20 us and 30 us over TCP.
  static const std::vector<Link>& known();
  // Throws ConfigError, with the names that there are, for another name.
  static const Link& named(const std::string& name);
};

// N ranks as threads of this process, each computing on CPU cores. A plain value: the threads live
// only while a request runs, so a failed request leaves nothing behind that must be rebuilt.
class PCPP_EXPORT World {
 public:
  // `ranks` 0: one for each core that the process may use. `threads_per_rank` 0: the cores shared
  // evenly. `link`: rows travel at its speed in place of the memory's. Throws ConfigError for
  // negative or absurd (over 1024) numbers and for a link without a speed.
  explicit World(int ranks = 0, int threads_per_rank = 0, std::optional<Link> link = std::nullopt);

  int ranks() const { return ranks_; }
  int threads_per_rank() const { return threads_per_rank_; }
  const std::optional<Link>& link() const { return link_; }

  // The cores that this process may use.
  static int cores();

 private:
  int ranks_;
  int threads_per_rank_;
  std::optional<Link> link_;
};

}  // namespace pcpp

#endif  // PCPP_WORLD_H_
