// The transport between ranks that are threads of one process, each computing on a GPU: rows are
// copied from device to device by the devices' copy engines.
#ifndef PCPP_PARALLEL_PEER_TRANSPORT_H_
#define PCPP_PARALLEL_PEER_TRANSPORT_H_

#include <chrono>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/cuda.h"
#include "parallel/device_rank.h"
#include "parallel/device_transport.h"
#include "parallel/switchboard.h"
#include "parallel/transport.h"

namespace pcpp {

// What a rank sends in one exchange is copied together, on the sender's stream for the lane, once
// its receivers have all started the exchange: by the copy engines between devices, by a kernel
// within one. Events keep the order: a copy begins after the
// sender has packed and after every receiver has started; after its wait() a receiver reads and
// the sender overwrites after the copy. A wait for an event that is not recorded yet would be no
// wait: the switchboard tells the waiting thread when the copy has been given to the device.
class PeerHub final : public Hub {
 public:
  // `devices` by rank; several ranks may share one. Pairs of devices without peer access are
  // copied through the host by the driver. At its end it waits `timeout` for the devices. Throws
  // DeviceError where a device cannot be used.
  PeerHub(std::vector<int> devices, std::chrono::milliseconds timeout);
  ~PeerHub() override;

  int world_size() const override { return static_cast<int>(devices_.size()); }
  std::unique_ptr<Transport> endpoint(int rank) override;
  bool finish() noexcept override;
  void abort(const std::string& reason) override;
  void stop() override { switchboard_.stop(); }

 private:
  friend class PeerTransport;

  // One rank's part of one exchange.
  struct Part {
    DeviceRank* device_rank = nullptr;
    Lane lane = Lane::stale;
    Switchboard::Ends ends;
    Event started;  // on the compute stream: packed what is sent, read what is received over
    Event copied;   // on the lane: all that is sent has been delivered
    std::optional<DeviceTransport::Flight> flight;
    std::size_t matched = 0;  // of its sends
  };

  void find_staged();
  // From the present device.
  void enable_peer_access(int device) const;
  DeviceRank& add_rank(int rank);
  Part& add_part(DeviceRank& device_rank, std::int64_t tag, Lane lane, const Exchange& exchange);
  Part& part(std::int64_t tag, int rank);
  void start(Part& part);
  void match(Switchboard::Channel& channel);
  void copy(const Part& part, const std::vector<const Part*>& receivers);

  const std::vector<int> devices_;
  const std::chrono::milliseconds timeout_;
  std::set<std::pair<int, int>> staged_;  // devices from, to: without peer access
  Switchboard switchboard_;
  DeviceRanks ranks_;
  std::mutex mutex_;                                    // of what follows
  std::map<std::pair<std::int64_t, int>, Part> parts_;  // by tag and rank
};

}  // namespace pcpp

#endif  // PCPP_PARALLEL_PEER_TRANSPORT_H_
