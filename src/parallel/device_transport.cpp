#include "parallel/device_transport.h"

#include <chrono>
#include <thread>
#include <utility>

#include "base/check.h"

namespace pcpp {

namespace {
// Short beside a step and long beside a query of an event.
constexpr auto kPause = std::chrono::microseconds(20);
}  // namespace

void DeviceTransport::copy_rows(std::span<const RowCopy> copies) {
  pcpp::copy_rows(copies.data(), copies.size(), stream());
}

ExchangeId DeviceTransport::add_exchange(std::int64_t tag, const Exchange& exchange) {
  passages_.emplace_back();
  timeline_.add_exchange(tag, exchange);
  return static_cast<ExchangeId>(passages_.size()) - 1;
}

std::optional<DeviceTransport::Flight> DeviceTransport::begin_flight(ExchangeId exchange) {
  if (!timeline_.begin_transfer(exchange)) return std::nullopt;
  return std::optional<Flight>({timeline_.interval(), timeline_.mark()});
}

void DeviceTransport::wait(ExchangeId exchange, Deadline deadline) {
  check_world();  // also where nothing is waited for: the device may never come that far
  Passage& passage = passages_.at(static_cast<std::size_t>(exchange));
  settle(passage, deadline);
  passage.begin.record(device_rank_.compute());
  passage.flight = order_after(exchange, deadline);
  passage.end.record(device_rank_.compute());
  passage.interval = timeline_.interval();
}

void DeviceTransport::settle(Passage& passage, Deadline deadline) {
  if (passage.interval < 0) return;
  while (!passage.end.is_passed()) pause(deadline, "its own device");
  ExchangeSpan wait{static_cast<ExchangeId>(&passage - passages_.data()),
                    std::exchange(passage.interval, -1)};
  if (timeline_.keeps_waits()) wait.begin = timeline_.mark_of(passage.begin, wait.interval);
  wait.milliseconds = passage.end.milliseconds_since(passage.begin);
  timeline_.add_wait(wait);
  if (const std::optional<Flight> flight = std::exchange(passage.flight, std::nullopt)) {
    timeline_.add_transfer({wait.exchange, flight->interval, flight->begin,
                            timeline_.milliseconds_from(flight->begin, flight->delivered)});
  }
}

void DeviceTransport::drain(Deadline deadline) {
  drained_.record(device_rank_.compute());
  while (!drained_.is_passed()) pause(deadline, "its own device");
  for (Passage& passage : passages_) settle(passage, deadline);
  timeline_.resolve();
}

void DeviceTransport::pause(Deadline deadline, const char* awaited) {
  check_world();
  check<TransportError>(Clock::now() < deadline,
                        "rank {} waited for {} until its deadline; a peer or the device is stuck "
                        "or too slow: raise the peer timeout",
                        rank(), awaited);
  std::this_thread::sleep_for(kPause);
}

Mark DeviceTimeline::mark() {
  Point& point = points_.emplace_back();
  if (interval() >= 0) point.origin = begin_of(interval());
  point.event.emplace(Event::Timing::on);
  point.event->record(stream_);
  return static_cast<Mark>(points_.size()) - 1;
}

Mark DeviceTimeline::mark_of(const Event& passed, int interval) {
  Point& point = points_.emplace_back();
  point.origin = begin_of(interval);
  point.milliseconds_from_origin = milliseconds_from(point.origin, passed);
  return static_cast<Mark>(points_.size()) - 1;
}

void DeviceTimeline::resolve() {
  for (; resolved_ < points_.size(); ++resolved_) {
    Point& point = points_[resolved_];
    if (point.origin < 0) continue;
    if (point.event) {
      point.milliseconds_from_origin = milliseconds_from(point.origin, *point.event);
    }
    point.milliseconds = points_[static_cast<std::size_t>(point.origin)].milliseconds +
                         point.milliseconds_from_origin;
  }
}

Clock::time_point DeviceTimeline::time_of(Mark mark) const {
  const auto milliseconds = [&](Mark of) {
    return points_.at(static_cast<std::size_t>(of)).milliseconds;
  };
  return known_time_ +
         std::chrono::round<Clock::duration>(
             std::chrono::duration<double, std::milli>(milliseconds(mark) - milliseconds(known_)));
}

void DeviceTimeline::keep_spans(std::size_t most) {
  Timeline::keep_spans(most);
  stream_.synchronize();
  known_ = mark();
  stream_.synchronize();
  known_time_ = Clock::now();
}

}  // namespace pcpp
