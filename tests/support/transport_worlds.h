// The transports that one suite of tests runs over, and what their ranks compute on.
#ifndef PCPP_TESTS_SUPPORT_TRANSPORT_WORLDS_H_
#define PCPP_TESTS_SUPPORT_TRANSPORT_WORLDS_H_

#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <ostream>
#include <string>
#include <vector>

#include "parallel/local_transport.h"
#include "parallel/transport.h"
#include "support/couriers.h"

namespace pcpp::testing {

// A hub with all that it needs.
class TransportWorld {
 public:
  virtual ~TransportWorld() = default;
  virtual Hub& hub() = 0;
  // Computes something on the rank's stream: what it reads and writes, it does in that order.
  virtual void compute(Transport& transport, std::function<void()> function) = 0;
};

struct TransportCase {
  std::string name;
  std::function<std::unique_ptr<TransportWorld>(int ranks)> make;

  friend void PrintTo(const TransportCase& value, std::ostream* out) { *out << value.name; }
};

class LocalWorld final : public TransportWorld {
 public:
  explicit LocalWorld(int ranks, std::unique_ptr<Courier> courier = nullptr)
      : courier_(std::move(courier)), hub_(ranks, courier_.get()) {}
  Hub& hub() override { return hub_; }
  void compute(Transport& /*transport*/, std::function<void()> function) override { function(); }

 private:
  std::unique_ptr<Courier> courier_;
  LocalHub hub_;
};

class LazyWorld final : public TransportWorld {
 public:
  explicit LazyWorld(int ranks) : hub_(ranks) {}
  Hub& hub() override { return hub_; }
  void compute(Transport& /*transport*/, std::function<void()> function) override { function(); }

 private:
  LazyHub hub_;
};

// One rank's part of an exchange of eight bytes between all.
inline ExchangeId prepare_all_to_all(Transport& transport, Lane lane) {
  Exchange exchange;
  std::byte* memory = transport.allocate(8 * static_cast<std::size_t>(transport.world_size() + 1));
  for (int peer = 0; peer < transport.world_size(); ++peer) {
    if (peer == transport.rank()) continue;
    exchange.sends.push_back({peer, memory, 8});
    exchange.receives.push_back({peer, memory + 8 * (peer + 1), 8});
  }
  return transport.prepare(0, lane, exchange);
}

// One rank's part: it sends to every other, `rounds` times.
inline void exchange_all(Transport& transport, int rounds) {
  const auto timeout = std::chrono::minutes(1);
  const ExchangeId id = prepare_all_to_all(transport, Lane::stale);
  for (int round = 0; round < rounds; ++round) {
    transport.start(id);
    transport.wait(id, deadline_in(timeout));
  }
  transport.drain(deadline_in(timeout));
}

// At once, when awaited, and at random times.
inline std::vector<TransportCase> local_cases() {
  return {{"direct", [](int ranks) { return std::make_unique<LocalWorld>(ranks); }},
          {"lazy", [](int ranks) { return std::make_unique<LazyWorld>(ranks); }},
          {"random", [](int ranks) {
             return std::make_unique<LocalWorld>(ranks, std::make_unique<RandomCourier>(5));
           }}};
}

}  // namespace pcpp::testing

#endif  // PCPP_TESTS_SUPPORT_TRANSPORT_WORLDS_H_
