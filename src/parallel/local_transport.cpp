#include "parallel/local_transport.h"

#include <cstdlib>
#include <cstring>
#include <new>
#include <optional>
#include <utility>

#include "base/check.h"
#include "parallel/timeline.h"

namespace pcpp {

namespace {
constexpr std::size_t kAlignment = 64;  // a cache line, and the widest vector
}  // namespace

// A mark is a reading of the clock.
class LocalTimeline final : public Timeline {
 public:
  LocalTimeline() { begin_interval(); }

  Mark mark() override { return Clock::now().time_since_epoch().count(); }
  Clock::time_point time_of(Mark mark) const override {
    return Clock::time_point(Clock::duration(mark));
  }
};

class LocalTransport final : public Transport {
 public:
  LocalTransport(LocalHub& hub, int rank) : hub_(hub), rank_(rank) {}

  int rank() const override { return rank_; }
  int world_size() const override { return hub_.world_size(); }
  CUstream_st* stream() const override { return nullptr; }
  std::byte* allocate(std::size_t bytes) override { return hub_.allocate(bytes); }

  void copy_rows(std::span<const RowCopy> copies) override {
    pcpp::copy_rows(copies.data(), copies.size());
  }

  ExchangeId prepare(std::int64_t tag, Lane /*lane*/, Exchange exchange) override {
    exchanges_.push_back({hub_.switchboard_.connect(tag, rank_, exchange), {}});
    timeline_.add_exchange(tag, exchange);
    return static_cast<ExchangeId>(exchanges_.size()) - 1;
  }

  void start(ExchangeId exchange) override {
    Part& part = exchanges_.at(static_cast<std::size_t>(exchange));
    if (timeline_.begin_transfer(exchange)) {
      part.flight = {exchange, timeline_.interval(), timeline_.mark()};
    }
    hub_.start(part.ends);
  }

  void wait(ExchangeId exchange, Deadline deadline) override {
    Part& part = exchanges_.at(static_cast<std::size_t>(exchange));
    ExchangeSpan wait{exchange, timeline_.interval(), timeline_.mark()};
    hub_.switchboard_.wait(part.ends, deadline);
    wait.milliseconds = milliseconds_since(timeline_.time_of(wait.begin));
    timeline_.add_wait(wait);
    if (!part.flight) return;
    const Clock::duration way =
        hub_.switchboard_.last_delivery(part.ends) - timeline_.time_of(part.flight->begin);
    part.flight->milliseconds = std::chrono::duration<double, std::milli>(way).count();
    timeline_.add_transfer(*std::exchange(part.flight, std::nullopt));
  }

  void drain(Deadline /*deadline*/) override {}

  Timeline& timeline() override { return timeline_; }

 private:
  struct Part {
    Switchboard::Ends ends;
    std::optional<ExchangeSpan> flight;  // of the last start, where it is kept
  };

  LocalHub& hub_;
  const int rank_;
  LocalTimeline timeline_;
  std::vector<Part> exchanges_;
};

Courier::~Courier() = default;

LocalHub::LocalHub(int world_size, Courier* courier) : world_size_(world_size), courier_(courier) {
  check<ConfigError>(world_size > 0, "{} ranks: at least one is needed", world_size);
}

LocalHub::~LocalHub() {
  if (courier_ != nullptr) courier_->drop();
}

std::unique_ptr<Transport> LocalHub::endpoint(int rank) {
  check<ConfigError>(rank >= 0 && rank < world_size_, "rank {} is not in a world of {}", rank,
                     world_size_);
  return std::make_unique<LocalTransport>(*this, rank);
}

std::byte* LocalHub::allocate(std::size_t bytes) {
  const std::size_t rounded = (bytes + kAlignment - 1) / kAlignment * kAlignment;
  if (rounded == 0) return nullptr;
  std::unique_ptr<std::byte, void (*)(void*)> data(
      static_cast<std::byte*>(std::aligned_alloc(kAlignment, rounded)), std::free);
  if (data == nullptr) throw std::bad_alloc();
  std::memset(data.get(), 0, rounded);
  const std::lock_guard lock(mutex_);
  memory_.push_back(std::move(data));
  return memory_.back().get();
}

void LocalHub::abort(const std::string& reason) { switchboard_.abort(reason); }

void LocalHub::start(Switchboard::Ends& ends) {
  switchboard_.start(ends, [this](Switchboard::Channel& channel) {
    // Both ends leave the memory alone until delivered() says so: no lock is needed for the copy.
    const auto deliver = [this, &channel] {
      if (channel.send.bytes > 0) {
        std::memcpy(channel.receive.address, channel.send.address, channel.send.bytes);
      }
      switchboard_.delivered(channel);
    };
    if (courier_ == nullptr) return deliver();
    courier_->carry({channel.tag, channel.receive.peer, channel.send.peer, channel.send.bytes},
                    deliver);
  });
}

}  // namespace pcpp
