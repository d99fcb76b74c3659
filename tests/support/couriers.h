// Local hubs and couriers that delay and reorder deliveries: the scripted transport of the tests.
#ifndef PCPP_TESTS_SUPPORT_COURIERS_H_
#define PCPP_TESTS_SUPPORT_COURIERS_H_

#include <algorithm>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <random>
#include <string>
#include <thread>
#include <tuple>
#include <utility>
#include <vector>

#include "parallel/forwarding_transport.h"
#include "parallel/local_transport.h"

namespace pcpp::testing {

// Delivers a piece only once it is awaited.
class LazyCourier final : public Courier {
 public:
  void carry(const Transfer& transfer, Delivery delivery) override {
    {
      const std::lock_guard lock(mutex_);
      Pieces& pieces = pieces_[{transfer.tag, transfer.from, transfer.to}];
      if (++pieces.carried > pieces.awaited) {
        pieces.waiting = std::move(delivery);
        return;
      }
    }
    delivery();
  }

  // A rank begins to wait for the `count`th piece, which may not have been given to carry() yet.
  void await(std::int64_t tag, int from, int to, std::int64_t count) {
    Delivery delivery;
    {
      const std::lock_guard lock(mutex_);
      Pieces& pieces = pieces_[{tag, from, to}];
      pieces.awaited = std::max(pieces.awaited, count);
      if (pieces.carried > pieces.awaited) return;
      delivery = std::exchange(pieces.waiting, nullptr);
    }
    if (delivery) delivery();
  }

  // Deliveries run on the ranks' own threads, which have ended.
  void drop() override {
    const std::lock_guard lock(mutex_);
    pieces_.clear();
  }

 private:
  struct Pieces {
    std::int64_t carried = 0;
    std::int64_t awaited = 0;
    Delivery waiting;
  };

  std::mutex mutex_;
  std::map<std::tuple<std::int64_t, int, int>, Pieces> pieces_;  // by tag, from, to
};

// Tells the courier what its rank waits for.
class LazyTransport final : public ForwardingTransport {
 public:
  LazyTransport(std::unique_ptr<Transport> local, LazyCourier& courier)
      : ForwardingTransport(*local), local_(std::move(local)), courier_(courier) {}

  ExchangeId prepare(std::int64_t tag, Lane lane, Exchange exchange) override {
    parts_.push_back({tag, exchange, 0});
    return ForwardingTransport::prepare(tag, lane, std::move(exchange));
  }
  void start(ExchangeId exchange) override {
    ++parts_.at(static_cast<std::size_t>(exchange)).started;
    ForwardingTransport::start(exchange);
  }
  void wait(ExchangeId exchange, Deadline deadline) override {
    const Part& part = parts_.at(static_cast<std::size_t>(exchange));
    for (const ReceivePiece& piece : part.exchange.receives) {
      courier_.await(part.tag, piece.peer, rank(), part.started);
    }
    for (const SendPiece& piece : part.exchange.sends) {
      courier_.await(part.tag, rank(), piece.peer, part.started);
    }
    ForwardingTransport::wait(exchange, deadline);
  }

 private:
  struct Part {
    std::int64_t tag;
    Exchange exchange;
    std::int64_t started;
  };

  std::unique_ptr<Transport> local_;
  LazyCourier& courier_;
  std::vector<Part> parts_;
};

// Delivers a piece only when a rank waits for it: the latest that a transport may be. What is never
// waited for never arrives.
class LazyHub final : public Hub {
 public:
  explicit LazyHub(int world_size) : local_(world_size, &courier_) {}

  int world_size() const override { return local_.world_size(); }
  std::unique_ptr<Transport> endpoint(int rank) override {
    return std::make_unique<LazyTransport>(local_.endpoint(rank), courier_);
  }
  void abort(const std::string& reason) override { local_.abort(reason); }
  void stop() override { local_.stop(); }

 private:
  LazyCourier courier_;
  LocalHub local_;
};

// Delivers on a thread of its own, after random pauses and in random order.
class RandomCourier final : public Courier {
 public:
  explicit RandomCourier(std::uint32_t seed) : engine_(seed), thread_([this] { run(); }) {}
  ~RandomCourier() override {
    {
      const std::lock_guard lock(mutex_);
      closing_ = true;
    }
    changed_.notify_all();
    thread_.join();
  }

  void carry(const Transfer& /*transfer*/, Delivery delivery) override {
    {
      const std::lock_guard lock(mutex_);
      waiting_.push_back(std::move(delivery));
    }
    changed_.notify_all();
  }

  void drop() override {
    std::unique_lock lock(mutex_);
    waiting_.clear();
    changed_.wait(lock, [this] { return !delivering_; });
  }

 private:
  void run() {
    std::unique_lock lock(mutex_);
    for (;;) {
      changed_.wait(lock, [this] { return closing_ || !waiting_.empty(); });
      if (waiting_.empty()) return;
      const std::chrono::microseconds pause(engine_() % 300);
      changed_.wait_for(lock, pause, [this] { return closing_; });
      if (waiting_.empty()) continue;
      const std::size_t index = engine_() % waiting_.size();
      const Delivery delivery = std::exchange(waiting_[index], std::move(waiting_.back()));
      waiting_.pop_back();
      delivering_ = true;
      lock.unlock();
      delivery();
      lock.lock();
      delivering_ = false;
      changed_.notify_all();
    }
  }

  std::mt19937 engine_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<Delivery> waiting_;
  bool delivering_ = false;
  bool closing_ = false;
  std::thread thread_;
};

}  // namespace pcpp::testing

#endif  // PCPP_TESTS_SUPPORT_COURIERS_H_
