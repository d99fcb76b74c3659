// The transport between ranks that are threads of one process, each on a GPU of its own, by NCCL.
#ifndef PCPP_PARALLEL_NCCL_TRANSPORT_H_
#define PCPP_PARALLEL_NCCL_TRANSPORT_H_

#include <array>
#include <atomic>
#include <chrono>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "parallel/device_rank.h"
#include "parallel/nccl_communicator.h"
#include "parallel/switchboard.h"
#include "parallel/transport.h"

namespace pcpp {

// The communicators of a world's ranks, one for each lane; kept from request to request, since it
// takes long to make them. After a request that failed, the next one's hub drops them all and its
// ranks make new ones.
class NcclWorld {
 public:
  // `devices` by rank. A wait for NCCL itself that is longer than `timeout` throws TransportError.
  // Throws ConfigError where ranks share a device, which NCCL refuses. `api` must outlive the
  // world.
  NcclWorld(const NcclApi& api, std::vector<int> devices, std::chrono::milliseconds timeout);
  ~NcclWorld();
  NcclWorld(const NcclWorld&) = delete;
  NcclWorld& operator=(const NcclWorld&) = delete;

 private:
  friend class NcclHub;
  friend class NcclTransport;

  static constexpr std::size_t kLanes = 2;
  using Lanes = std::array<std::unique_ptr<NcclCommunicator>, kLanes>;

  void begin_request();
  // Ends what is under way on every device: a rank whose thread the driver holds, behind an
  // exchange that its peer has given up, could not do it itself. Thread-safe.
  void abort();

  const NcclApi& api_;
  const std::vector<int> devices_;
  const std::chrono::milliseconds timeout_;
  std::array<ncclUniqueId, kLanes> ids_{};
  std::mutex mutex_;                  // of making and aborting communicators
  std::vector<Lanes> communicators_;  // by rank; each used by its rank's thread
  std::atomic<bool> broken_ = true;   // until the first request
};

// A rank sends and receives all of an exchange in one group, on its stream for the lane. Events
// order that stream and the rank's own.
class NcclHub : public Hub {
 public:
  // `world` must outlive the hub and serve no other one meanwhile.
  explicit NcclHub(NcclWorld& world);
  ~NcclHub() override;

  int world_size() const override { return static_cast<int>(world_.devices_.size()); }
  // Throws TransportError where the ranks have not joined before the world's timeout.
  std::unique_ptr<Transport> endpoint(int rank) override;
  bool finish() noexcept override;
  void abort(const std::string& reason) override;
  void stop() override { switchboard_.stop(); }

 private:
  friend class NcclTransport;

  DeviceRank& add_rank(int rank);

  NcclWorld& world_;
  Switchboard switchboard_;
  DeviceRanks ranks_;
};

}  // namespace pcpp

#endif  // PCPP_PARALLEL_NCCL_TRANSPORT_H_
