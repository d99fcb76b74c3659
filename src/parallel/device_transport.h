// What the transports between GPUs have in common: order by events, and waits that are bounded.
#ifndef PCPP_PARALLEL_DEVICE_TRANSPORT_H_
#define PCPP_PARALLEL_DEVICE_TRANSPORT_H_

#include <functional>
#include <optional>
#include <vector>

#include "base/cuda.h"
#include "parallel/device_rank.h"
#include "parallel/timeline.h"
#include "parallel/transport.h"

namespace pcpp {

// By events on a stream. An event's time is taken from its interval's begin, so that a long run is
// measured as finely as a short one.
class DeviceTimeline final : public Timeline {
 public:
  explicit DeviceTimeline(const Stream& stream) : stream_(stream) { begin_interval(); }

  Mark mark() override;
  Clock::time_point time_of(Mark mark) const override;
  // The host waits for the stream, which has nothing to do yet, to read both clocks at once.
  void keep_spans(std::size_t most) override;

  // The mark of an event with timing of the interval's; the stream has passed it.
  Mark mark_of(const Event& passed, int interval);
  // To one on the same device from a mark that mark() made; both passed.
  double milliseconds_from(Mark begin, const Event& passed) const {
    return passed.milliseconds_since(event_of(begin));
  }
  // Once the stream has passed all marks: from here on time_of() knows them.
  void resolve();

 private:
  struct Point {
    std::optional<Event> event;  // absent: `milliseconds_from_origin` is known
    Mark origin = -1;            // -1: it is the first
    double milliseconds_from_origin = 0;
    double milliseconds = 0;  // from the first, once resolved
  };
  const Event& event_of(Mark mark) const {
    return *points_.at(static_cast<std::size_t>(mark)).event;
  }

  const Stream& stream_;
  std::vector<Point> points_;  // by mark
  std::size_t resolved_ = 0;
  Mark known_ = 0;  // whose time on the host's clock is known
  Clock::time_point known_time_;
};

// An endpoint on a GPU. Its thread has the rank's device present from its making on.
class DeviceTransport : public Transport {
 public:
  int rank() const override { return device_rank_.rank(); }
  CUstream_st* stream() const override { return device_rank_.compute().get(); }
  std::byte* allocate(std::size_t bytes) override { return device_rank_.allocate(bytes); }
  void copy_rows(std::span<const RowCopy> copies) override;
  void wait(ExchangeId exchange, Deadline deadline) final;
  void drain(Deadline deadline) override;
  Timeline& timeline() final { return timeline_; }

  // One start of an exchange that is kept as a transfer.
  struct Flight {
    int interval = 0;
    Mark begin = 0;
    Event delivered{Event::Timing::on};  // to be recorded on the lane, after all that is sent
  };

 protected:
  // `make_rank` is called with the device present.
  DeviceTransport(int device, const std::function<DeviceRank&()>& make_rank)
      : device_rank_(made_on(device, make_rank)), timeline_(device_rank_.compute()) {}

  DeviceRank& device_rank() const { return device_rank_; }
  // To be called by prepare(), once for each exchange in the order of their numbers.
  ExchangeId add_exchange(std::int64_t tag, const Exchange& exchange);

  // To be called by start(), after what is packed; none where no transfer is to be kept.
  std::optional<Flight> begin_flight(ExchangeId exchange);

  // Makes the compute stream wait until the last start of the exchange is delivered, and returns
  // its flight. The host waits, until the deadline, for events that are not recorded yet.
  virtual std::optional<Flight> order_after(ExchangeId exchange, Deadline deadline) = 0;
  // Throws where a rank of the world has failed. Called again and again while the host waits.
  virtual void check_world() = 0;

  // One look at what the host waits for: throws as check_world(), and past the deadline.
  void pause(Deadline deadline, const char* awaited);

 private:
  // The last wait for one exchange: its place in the compute stream, and what it cost.
  struct Passage {
    Event begin{Event::Timing::on};
    Event end{Event::Timing::on};
    int interval = -1;  // -1: accounted for
    std::optional<Flight> flight;
  };
  void settle(Passage& passage, Deadline deadline);

  static DeviceRank& made_on(int device, const std::function<DeviceRank&()>& make_rank) {
    set_device(device);
    return make_rank();
  }

  DeviceRank& device_rank_;
  DeviceTimeline timeline_;
  std::vector<Passage> passages_;  // by exchange
  Event drained_;
};

}  // namespace pcpp

#endif  // PCPP_PARALLEL_DEVICE_TRANSPORT_H_
