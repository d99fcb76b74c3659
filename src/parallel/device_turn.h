// Devices that only one world of the process may use at a time.
#ifndef PCPP_PARALLEL_DEVICE_TURN_H_
#define PCPP_PARALLEL_DEVICE_TURN_H_

#include <chrono>
#include <set>
#include <stop_token>

namespace pcpp {

// From its construction to its destruction no other turn has one of its devices. NCCL's kernels
// wait on a device for those of their peers: worlds that launch them there in different orders
// would come to wait for each other.
class DeviceTurn {
 public:
  // Waits behind those who came before and share a device. Throws ConfigError past the timeout,
  // Cancelled once a stop is requested meanwhile.
  DeviceTurn(std::set<int> devices, std::chrono::milliseconds timeout,
             const std::stop_token& stop = {});
  ~DeviceTurn();
  DeviceTurn(const DeviceTurn&) = delete;
  DeviceTurn& operator=(const DeviceTurn&) = delete;

 private:
  std::set<int> devices_;
};

}  // namespace pcpp

#endif  // PCPP_PARALLEL_DEVICE_TURN_H_
