#include "parallel/device_transport.h"

#include <chrono>
#include <thread>

#include "base/check.h"
#include "kernels/copy_rows.h"

namespace pcpp {

namespace {
// Short beside a step and long beside a query of an event.
constexpr auto kPause = std::chrono::microseconds(20);
}  // namespace

void DeviceTransport::copy_rows(std::byte* target, std::int64_t target_stride,
                                const std::byte* source, std::int64_t source_stride,
                                std::int64_t batch, std::int64_t bytes) {
  const RowCopy copy{target, target_stride, source, source_stride, batch, bytes};
  pcpp::copy_rows(&copy, 1, stream());
}

ExchangeId DeviceTransport::add_exchange() {
  passages_.emplace_back();
  return static_cast<ExchangeId>(passages_.size()) - 1;
}

void DeviceTransport::wait(ExchangeId exchange, Deadline deadline) {
  Passage& passage = passages_.at(static_cast<std::size_t>(exchange));
  settle(passage, deadline);
  passage.begin.record(device_rank_.compute());
  order_after(exchange, deadline);
  passage.end.record(device_rank_.compute());
  passage.interval = static_cast<int>(wait_ms_.size()) - 1;
}

void DeviceTransport::settle(Passage& passage, Deadline deadline) {
  if (passage.interval < 0) return;
  while (!passage.end.is_passed()) pause(deadline, "its own device");
  wait_ms_.at(static_cast<std::size_t>(passage.interval)) +=
      passage.end.milliseconds_since(passage.begin);
  passage.interval = -1;
}

void DeviceTransport::drain(Deadline deadline) {
  drained_.record(device_rank_.compute());
  while (!drained_.is_passed()) pause(deadline, "its own device");
  for (Passage& passage : passages_) settle(passage, deadline);
}

void DeviceTransport::pause(Deadline deadline, const char* awaited) {
  check_world();
  check<TransportError>(Clock::now() < deadline,
                        "rank {} waited for {} until its deadline; a peer or the device is stuck "
                        "or too slow: raise the peer timeout",
                        rank(), awaited);
  std::this_thread::sleep_for(kPause);
}

void DeviceTransport::record_begin() {
  begins_.emplace_back(Event::Timing::on);
  begins_.back().record(device_rank_.compute());
}

int DeviceTransport::begin_interval() {
  record_begin();
  wait_ms_.push_back(0);
  return static_cast<int>(wait_ms_.size()) - 1;
}

double DeviceTransport::interval_ms(int interval) const {
  const auto index = static_cast<std::size_t>(interval);
  return begins_.at(index + 1).milliseconds_since(begins_.at(index));
}

double DeviceTransport::wait_ms(int interval) const {
  return wait_ms_.at(static_cast<std::size_t>(interval));
}

}  // namespace pcpp
