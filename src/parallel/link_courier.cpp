#include "parallel/link_courier.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <utility>

#include "base/check.h"

namespace pcpp {

namespace {

Clock::duration rounded(double seconds) {
  return std::chrono::round<Clock::duration>(std::chrono::duration<double>(seconds));
}

}  // namespace

const std::vector<Link>& Link::known() {
  static const std::vector<Link> links = {
      {.name = "nvlink4", .bytes_per_second = 450e9, .latency_seconds = 2e-6},
      {.name = "pcie4x16", .bytes_per_second = 31.5e9, .latency_seconds = 5e-6},
      {.name = "pcie3x8", .bytes_per_second = 7.88e9, .latency_seconds = 5e-6},
      {.name = "ethernet100g", .bytes_per_second = 12.5e9, .latency_seconds = 10e-6},
      {.name = "ethernet25g", .bytes_per_second = 3.125e9, .latency_seconds = 20e-6},
      {.name = "ethernet10g", .bytes_per_second = 1.25e9, .latency_seconds = 30e-6}};
  return links;
}

const Link& Link::named(const std::string& name) {
  std::string names;
  for (const Link& link : known()) {
    if (link.name == name) return link;
    names += (names.empty() ? "" : ", ") + link.name;
  }
  fail<ConfigError>("link '{}' is not known; there are {}", name, names);
}

void check_link(const Link& link) {
  check<ConfigError>(std::isfinite(link.bytes_per_second) && link.bytes_per_second >= 1,
                     "link {}: {} bytes a second; at least 1 is needed", link.name,
                     link.bytes_per_second);
  check<ConfigError>(link.latency_seconds >= 0 && link.latency_seconds <= 60,
                     "link {}: a latency of {} s is outside [0, 60]", link.name,
                     link.latency_seconds);
}

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
    : lanes_(link, ranks), thread_([this] { run(); }) {}

LinkCourier::~LinkCourier() {
  {
    const std::lock_guard lock(mutex_);
    closing_ = true;
  }
  changed_.notify_all();
  thread_.join();
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
