// What a rank on a GPU has, whatever carries its rows.
#ifndef PCPP_PARALLEL_DEVICE_RANK_H_
#define PCPP_PARALLEL_DEVICE_RANK_H_

#include <cstddef>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "base/cuda.h"
#include "base/deadline.h"
#include "parallel/transport.h"

namespace pcpp {

// A device, the stream that the rank computes on, a stream for each lane and memory. Made by the
// rank's thread with `device` present; its hub keeps it until all ranks have ended and every rank's
// streams are finished: peers write to its memory.
class DeviceRank {
 public:
  using Block = std::unique_ptr<std::byte, std::function<void(std::byte*)>>;
  // Device memory of the present device.
  using MakeBlock = std::function<Block(std::size_t bytes)>;

  DeviceRank(int rank, int device, StreamPriority stale_priority, MakeBlock make_block);
  DeviceRank(const DeviceRank&) = delete;
  DeviceRank& operator=(const DeviceRank&) = delete;

  int rank() const { return rank_; }
  int device() const { return device_; }
  const Stream& compute() const { return compute_; }
  const Stream& lane(Lane lane) const { return lane == Lane::stale ? stale_ : gather_; }

  // Zero-filled in the order of the compute stream; lives as long as the object.
  std::byte* allocate(std::size_t bytes);

  // The host waits until all three streams have ended or cannot go on, which goes to the log: this
  // is for the end. Whether that was before the deadline.
  bool finish(Deadline deadline) const noexcept;

 private:
  const int rank_;
  const int device_;
  Stream compute_;
  Stream stale_;
  Stream gather_;
  MakeBlock make_block_;
  std::vector<Block> blocks_;
  std::byte* free_ = nullptr;  // of the newest block
  std::size_t free_bytes_ = 0;
};

// A hub's, by rank.
class DeviceRanks {
 public:
  explicit DeviceRanks(std::size_t count) : ranks_(count) {}
  DeviceRanks(const DeviceRanks&) = delete;
  DeviceRanks& operator=(const DeviceRanks&) = delete;

  // Thread-safe.
  DeviceRank& add(std::unique_ptr<DeviceRank> rank);
  // As Hub::finish(). Where a device has not ended by the deadline, no rank's memory is ever given
  // back, as that device may write to any peer's. Later calls return what the first did.
  bool finish(Deadline deadline) noexcept;

 private:
  std::mutex mutex_;
  std::vector<std::unique_ptr<DeviceRank>> ranks_;
  std::optional<bool> finished_;
};

}  // namespace pcpp

#endif  // PCPP_PARALLEL_DEVICE_RANK_H_
