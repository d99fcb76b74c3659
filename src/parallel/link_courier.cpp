#include "parallel/link_courier.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "base/link.h"
#include "base/threads.h"

namespace pcpp {

namespace {

Clock::duration rounded(double seconds) {
  return std::chrono::round<Clock::duration>(std::chrono::duration<double>(seconds));
}

}  // namespace

LinkLanes::LinkLanes(const Link& link, int ranks)
    : bytes_per_second_(link.bytes_per_second),
      latency_(rounded(link.latency_seconds)),
      shared_(link.shared),
      out_free_(static_cast<std::size_t>(ranks)),
      in_free_(static_cast<std::size_t>(ranks)) {
  check_link(link);
}

Clock::time_point LinkLanes::arrival(const Transfer& transfer, Clock::time_point ready) {
  Clock::time_point& out = out_free_[shared_ ? 0 : static_cast<std::size_t>(transfer.from)];
  Clock::time_point& in = in_free_[shared_ ? 0 : static_cast<std::size_t>(transfer.to)];
  const Clock::time_point begin = std::max({ready, out, in});
  const Clock::time_point end =
      begin + rounded(static_cast<double>(transfer.bytes) / bytes_per_second_);
  out = end;
  in = end;
  return end + latency_;
}

LinkCourier::LinkCourier(const Link& link, int ranks)
    : lanes_(link, ranks), thread_(make_thread([this] { run(); })) {}

LinkCourier::~LinkCourier() {
  {
    const std::lock_guard lock(mutex_);
    closing_ = true;
  }
  changed_.notify_all();
}

void LinkCourier::carry(const Transfer& transfer, Delivery delivery) {
  {
    const std::lock_guard lock(mutex_);
    under_way_.push({lanes_.arrival(transfer, Clock::now()), carried_++, std::move(delivery)});
  }
  changed_.notify_all();
}

void LinkCourier::drop() {
  std::unique_lock lock(mutex_);
  under_way_ = {};
  changed_.wait(lock, [this] { return !delivering_; });
}

void LinkCourier::run() {
  std::unique_lock lock(mutex_);
  while (!closing_) {
    if (under_way_.empty()) {
      changed_.wait(lock);
      continue;
    }
    const Clock::time_point arrival = under_way_.top().arrival;
    if (Clock::now() < arrival) {
      changed_.wait_until(lock, arrival);
      continue;
    }
    const Delivery delivery = under_way_.top().delivery;
    under_way_.pop();
    delivering_ = true;
    lock.unlock();
    delivery();
    lock.lock();
    delivering_ = false;
    changed_.notify_all();
  }
}

}  // namespace pcpp
