#include "parallel/local_transport.h"

#include <cstdlib>
#include <cstring>
#include <new>
#include <utility>

#include "base/check.h"

namespace pcpp {

namespace {
constexpr std::size_t kAlignment = 64;  // a cache line, and the widest vector
}  // namespace

// One rank's end of the hub. A prepared exchange holds its channels and how often it was started.
class LocalTransport final : public Transport {
 public:
  LocalTransport(LocalHub& hub, int rank) : hub_(hub), rank_(rank) {}

  int rank() const override { return rank_; }
  int world_size() const override { return hub_.world_size(); }
  std::byte* allocate(std::size_t bytes) override { return hub_.allocate(bytes); }

  ExchangeId prepare(std::int64_t tag, Lane /*lane*/, Exchange exchange) override {
    Prepared prepared;
    for (const SendPiece& piece : exchange.sends) {
      prepared.sends.push_back({&hub_.add_send(tag, rank_, piece), piece.peer});
    }
    for (const ReceivePiece& piece : exchange.receives) {
      prepared.receives.push_back({&hub_.add_receive(tag, rank_, piece), piece.peer});
    }
    exchanges_.push_back(std::move(prepared));
    return static_cast<ExchangeId>(exchanges_.size()) - 1;
  }

  void start(ExchangeId exchange) override {
    Prepared& prepared = exchanges_.at(static_cast<std::size_t>(exchange));
    ++prepared.generation;
    for (const End& end : prepared.receives) {
      hub_.start(*end.channel, &LocalHub::Channel::receives_started);
    }
    for (const End& end : prepared.sends) {
      hub_.start(*end.channel, &LocalHub::Channel::sends_started);
    }
  }

  void wait(ExchangeId exchange, Deadline deadline) override {
    const Prepared& prepared = exchanges_.at(static_cast<std::size_t>(exchange));
    for (const End& end : prepared.receives) {
      hub_.wait(*end.channel, prepared.generation, deadline, rank_, end.peer);
    }
    for (const End& end : prepared.sends) {
      hub_.wait(*end.channel, prepared.generation, deadline, rank_, end.peer);
    }
  }

 private:
  struct End {
    LocalHub::Channel* channel;
    int peer;
  };
  struct Prepared {
    std::vector<End> sends;
    std::vector<End> receives;
    std::int64_t generation = 0;
  };

  LocalHub& hub_;
  const int rank_;
  std::vector<Prepared> exchanges_;
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

void LocalHub::abort(const std::string& reason) {
  const std::lock_guard lock(mutex_);
  if (abort_reason_.empty()) abort_reason_ = reason.empty() ? "a rank failed" : reason;
  changed_.notify_all();
}

LocalHub::Channel& LocalHub::add_send(std::int64_t tag, int from, const SendPiece& piece) {
  const std::lock_guard lock(mutex_);
  Channel& channel = channels_[{tag, from, piece.peer}];
  check<TransportError>(!channel.has_send, "rank {} prepared tag {} to rank {} twice", from, tag,
                        piece.peer);
  channel.has_send = true;
  channel.send = piece;
  return channel;
}

LocalHub::Channel& LocalHub::add_receive(std::int64_t tag, int to, const ReceivePiece& piece) {
  const std::lock_guard lock(mutex_);
  Channel& channel = channels_[{tag, piece.peer, to}];
  check<TransportError>(!channel.has_receive, "rank {} prepared tag {} from rank {} twice", to, tag,
                        piece.peer);
  channel.has_receive = true;
  channel.receive = piece;
  return channel;
}

void LocalHub::start(Channel& channel, std::int64_t Channel::*started) {
  {
    const std::lock_guard lock(mutex_);
    ++(channel.*started);
    if (channel.sends_started != channel.receives_started) return;
    check<TransportError>(channel.send.bytes == channel.receive.bytes,
                          "rank {} sends {} bytes where rank {} expects {}", channel.receive.peer,
                          channel.send.bytes, channel.send.peer, channel.receive.bytes);
  }
  if (courier_ != nullptr) {
    courier_->carry({&channel, channel.receive.peer, channel.send.peer, channel.send.bytes},
                    [this, &channel] { deliver(channel); });
  } else {
    deliver(channel);
  }
}

void LocalHub::deliver(Channel& channel) {
  // Both ends leave the memory alone until `delivered` says so: no lock is needed for the copy.
  if (channel.send.bytes > 0) {
    std::memcpy(channel.receive.address, channel.send.address, channel.send.bytes);
  }
  const std::lock_guard lock(mutex_);
  ++channel.delivered;
  changed_.notify_all();
}

void LocalHub::wait(const Channel& channel, std::int64_t generation, Deadline deadline, int rank,
                    int peer) {
  std::unique_lock lock(mutex_);
  if (courier_ != nullptr && channel.delivered < generation) {
    lock.unlock();
    courier_->awaited(&channel);
    lock.lock();
  }
  const auto settled = [&] { return channel.delivered >= generation || !abort_reason_.empty(); };
  const bool in_time = changed_.wait_until(lock, deadline, settled);
  if (channel.delivered >= generation) return;
  check<TransportError>(abort_reason_.empty(), "{}", abort_reason_);
  check<TransportError>(in_time,
                        "rank {} waited for rank {} until its deadline; the peer is stuck "
                        "or too slow: raise the peer timeout",
                        rank, peer);
}

}  // namespace pcpp
