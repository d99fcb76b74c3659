#include "parallel/device_rank.h"

#include <algorithm>
#include <chrono>
#include <exception>
#include <string>
#include <thread>
#include <utility>

#include "base/log.h"

namespace pcpp {

namespace {
constexpr std::size_t kAlignment = 256;          // as cudaMalloc gives
constexpr std::size_t kBlockBytes = 2ull << 20;  // the least that a device maps
constexpr auto kPause = std::chrono::microseconds(100);
}  // namespace

DeviceRank::DeviceRank(int rank, int device, StreamPriority stale_priority, MakeBlock make_block)
    : rank_(rank),
      device_(device),
      stale_(stale_priority),
      gather_(StreamPriority::high),
      make_block_(std::move(make_block)) {}

std::byte* DeviceRank::allocate(std::size_t bytes) {
  const std::size_t rounded = (bytes + kAlignment - 1) / kAlignment * kAlignment;
  if (rounded == 0) return nullptr;
  if (rounded > free_bytes_) {
    const std::size_t block_bytes = std::max(rounded, kBlockBytes);
    blocks_.push_back(make_block_(block_bytes));
    free_ = blocks_.back().get();
    free_bytes_ = block_bytes;
    check_cuda(cudaMemsetAsync(free_, 0, block_bytes, compute_.get()), "cudaMemsetAsync");
  }
  free_bytes_ -= rounded;
  return std::exchange(free_, free_ + rounded);
}

bool DeviceRank::finish(Deadline deadline) const noexcept {
  std::string told;  // a lost device says the same of every stream
  for (const Stream* stream : {&compute_, &stale_, &gather_}) {
    try {
      while (!stream->is_finished()) {
        if (Clock::now() >= deadline) return false;
        std::this_thread::sleep_for(kPause);
      }
    } catch (const std::exception& error) {
      if (told != error.what()) log().error("rank {}: {}", rank_, error.what());
      told = error.what();
    }
  }
  return true;
}

DeviceRank& DeviceRanks::add(std::unique_ptr<DeviceRank> rank) {
  const std::lock_guard lock(mutex_);
  std::unique_ptr<DeviceRank>& place = ranks_[static_cast<std::size_t>(rank->rank())];
  place = std::move(rank);
  return *place;
}

bool DeviceRanks::finish(Deadline deadline) noexcept {
  if (finished_) return *finished_;
  finished_ = true;
  for (const std::unique_ptr<DeviceRank>& rank : ranks_) {
    if (!rank || rank->finish(deadline)) continue;
    finished_ = false;
    log().error("rank {}: device {} has not ended by the deadline: no rank's memory is given back",
                rank->rank(), rank->device());
  }
  if (!*finished_) {
    for (std::unique_ptr<DeviceRank>& rank : ranks_) {
      rank.release();  // NOLINT(bugprone-unused-return-value): a device may still write to it
    }
  }
  return *finished_;
}

}  // namespace pcpp
