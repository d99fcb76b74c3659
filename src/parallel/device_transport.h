// What the transports between GPUs have in common: order by events, and waits that are bounded.
#ifndef PCPP_PARALLEL_DEVICE_TRANSPORT_H_
#define PCPP_PARALLEL_DEVICE_TRANSPORT_H_

#include <functional>
#include <vector>

#include "base/cuda.h"
#include "parallel/device_rank.h"
#include "parallel/transport.h"

namespace pcpp {

// An endpoint on a GPU. Its thread has the rank's device present for as long as it lives.
class DeviceTransport : public Transport {
 public:
  int rank() const override { return device_rank_.rank(); }
  CUstream_st* stream() const override { return device_rank_.compute().get(); }
  std::byte* allocate(std::size_t bytes) override { return device_rank_.allocate(bytes); }
  void copy_rows(std::byte* target, std::int64_t target_stride, const std::byte* source,
                 std::int64_t source_stride, std::int64_t batch, std::int64_t bytes) override;
  void wait(ExchangeId exchange, Deadline deadline) final;
  void drain(Deadline deadline) override;
  int begin_interval() override;
  double interval_ms(int interval) const override;
  double wait_ms(int interval) const override;

 protected:
  // `make_rank` is called with the device present.
  DeviceTransport(int device, const std::function<DeviceRank&()>& make_rank)
      : guard_(device), device_rank_(make_rank()) {
    record_begin();
  }

  DeviceRank& device_rank() const { return device_rank_; }
  // To be called by prepare(), once for each exchange in the order of their numbers.
  ExchangeId add_exchange();

  // Makes the compute stream wait until the last start of the exchange is delivered. The host
  // waits, until the deadline, for events that are not recorded yet.
  virtual void order_after(ExchangeId exchange, Deadline deadline) = 0;
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
  };
  void settle(Passage& passage, Deadline deadline);
  void record_begin();

  const DeviceGuard guard_;
  DeviceRank& device_rank_;
  std::vector<Passage> passages_;  // by exchange
  Event drained_;
  std::vector<Event> begins_;          // of intervals
  std::vector<double> wait_ms_ = {0};  // likewise
};

}  // namespace pcpp

#endif  // PCPP_PARALLEL_DEVICE_TRANSPORT_H_
