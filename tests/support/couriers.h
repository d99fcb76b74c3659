// Couriers for LocalHub that delay and reorder deliveries: the scripted transport of the tests.
#ifndef PCPP_TESTS_SUPPORT_COURIERS_H_
#define PCPP_TESTS_SUPPORT_COURIERS_H_

#include <condition_variable>
#include <cstdint>
#include <map>
#include <mutex>
#include <random>
#include <set>
#include <thread>
#include <utility>
#include <vector>

#include "parallel/local_transport.h"

namespace pcpp::testing {

// Delivers a piece only when a rank waits for it: the latest that a transport may be. What is never
// waited for never arrives.
class LazyCourier final : public Courier {
 public:
  void carry(const Transfer& transfer, Delivery delivery) override {
    {
      const std::lock_guard lock(mutex_);
      if (awaited_.erase(transfer.channel) == 0) {
        waiting_[transfer.channel] = std::move(delivery);
        return;
      }
    }
    delivery();
  }

  void awaited(const void* channel) override {
    Delivery delivery;
    {
      const std::lock_guard lock(mutex_);
      const auto found = waiting_.find(channel);
      if (found == waiting_.end()) {
        awaited_.insert(channel);
        return;
      }
      delivery = std::move(found->second);
      waiting_.erase(found);
      awaited_.erase(channel);
    }
    delivery();
  }

  // Deliveries run on the ranks' own threads, which have ended.
  void drop() override {
    const std::lock_guard lock(mutex_);
    waiting_.clear();
    awaited_.clear();
  }

 private:
  std::mutex mutex_;
  std::map<const void*, Delivery> waiting_;
  std::set<const void*> awaited_;
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
