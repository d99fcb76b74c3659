// The ranks that draw a picture together.
#ifndef PCPP_WORLD_H_
#define PCPP_WORLD_H_

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "pcpp/export.h"

namespace pcpp {

// What joins the ranks: a piece of n bytes leaves when its lane is free and is there latency + n /
// bandwidth later. A plan counts with it. A World emulates it, for measurement: the time is
// emulated, the bytes and the picture are real and the same as without a link.
struct PCPP_EXPORT Link {
  std::string name = {};
  double bytes_per_second = 0;  // of one lane; at least 1
  double latency_seconds = 0;   // in [0, 60]
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

  friend bool operator==(const Link&, const Link&) = default;
};

// How rows travel between ranks on GPUs.
enum class GpuTransport {
  peer,  // by the GPUs' copy engines
  nccl,  // by NCCL, which takes one rank a GPU
};

// "peer" or "nccl".
PCPP_EXPORT std::string_view name_of(GpuTransport transport);

// N ranks as threads of this process, each computing on CPU cores or on a GPU. A plain value, which
// holds no threads: on a CPU they live while a request runs, on GPUs as long as the pipeline. A
// failed request leaves nothing behind that must be rebuilt.
class PCPP_EXPORT World {
 public:
  // The most ranks of a world, and the most threads of a rank.
  static constexpr int kMostRanks = 1024;

  // On CPU cores.
  // `ranks` 0: one for each core that the process may use, which may be more than a picture has
  // bands (ModelInfo::most_patches). `threads_per_rank` 0: the cores shared
  // evenly. `link`: rows travel at its speed in place of the memory's. Throws ConfigError for
  // negative or absurd (over kMostRanks) numbers and for a link without a speed.
  explicit World(int ranks = 0, int threads_per_rank = 0, std::optional<Link> link = std::nullopt);

  // On NVIDIA GPUs, by the numbers that the CUDA runtime gives them: rank r computes on the r-th of
  // `gpus`, wrapping around. Without any, on all that there are; `ranks` 0: one for
  // each. Throws ConfigError where the process can use no GPU or not this one, and for two ranks on
  // one GPU with GpuTransport::nccl.
  static World cuda(std::vector<int> gpus = {}, int ranks = 0,
                    GpuTransport transport = GpuTransport::peer);

  int ranks() const { return ranks_; }
  int threads_per_rank() const { return threads_per_rank_; }
  const std::optional<Link>& link() const { return link_; }
  // The GPU of each rank; empty: ranks compute on CPU cores.
  const std::vector<int>& gpus() const { return gpus_; }
  GpuTransport gpu_transport() const { return gpu_transport_; }
  // "cpu", or "cuda:0,1"; each GPU once.
  std::string device() const;

  // The cores that this process may use: a container's CPU quota counts.
  static int cores();
  // The GPUs that it may use. Throws ConfigError, with the reason, where there is none.
  static int gpu_count();
  // As the CUDA runtime names it, such as "NVIDIA H200". Throws ConfigError where the process
  // cannot use the GPU.
  static std::string gpu_name(int gpu);

 private:
  int ranks_;
  int threads_per_rank_;
  std::optional<Link> link_;
  std::vector<int> gpus_;
  GpuTransport gpu_transport_ = GpuTransport::peer;
};

}  // namespace pcpp

#endif  // PCPP_WORLD_H_
