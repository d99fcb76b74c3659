#include "parallel/device_turn.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <condition_variable>
#include <list>
#include <mutex>
#include <utility>

#include "base/check.h"
#include "base/deadline.h"

namespace pcpp {

namespace {

std::mutex mutex;
std::condition_variable_any changed;
// Under the mutex: those who have and who wait, as they came.
std::list<const std::set<int>*> turns;

bool share(const std::set<int>& a, const std::set<int>& b) {
  return std::ranges::any_of(a, [&](int device) { return b.contains(device); });
}

}  // namespace

DeviceTurn::DeviceTurn(std::set<int> devices, std::chrono::milliseconds timeout,
                       const std::stop_token& stop)
    : devices_(std::move(devices)) {
  std::unique_lock lock(mutex);
  const auto place = turns.insert(turns.end(), &devices_);
  const bool free = changed.wait_until(lock, stop, deadline_in(timeout), [&] {
    return std::none_of(turns.begin(), place,
                        [&](const std::set<int>* earlier) { return share(*earlier, devices_); });
  });
  if (free && !stop.stop_requested()) return;
  turns.erase(place);
  changed.notify_all();
  check_not_stopped(stop);
  fail<ConfigError>(
      "NCCL on the devices {}: for {} ms other pipelines of this process have been drawing with it "
      "there, and it takes one at a time: draw one after the other, wait longer, or take the peer "
      "transport",
      fmt::join(devices_, ","), timeout.count());
}

DeviceTurn::~DeviceTurn() {
  const std::lock_guard lock(mutex);
  turns.remove(&devices_);
  changed.notify_all();
}

}  // namespace pcpp
