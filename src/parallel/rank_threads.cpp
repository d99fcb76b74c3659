#include "parallel/rank_threads.h"

#include <condition_variable>
#include <latch>
#include <mutex>
#include <stop_token>
#include <thread>
#include <utility>
#include <vector>

#include "base/threads.h"

namespace pcpp {

class RankThreads::Thread {
 public:
  Thread() : thread_(make_thread([this](const std::stop_token& stop) { serve(stop); })) {}

  void give(std::function<void()> task) noexcept {
    {
      const std::lock_guard lock(mutex_);
      task_ = std::move(task);
    }
    given_.notify_one();
  }

 private:
  void serve(const std::stop_token& stop) {
    for (;;) {
      std::unique_lock lock(mutex_);
      if (!given_.wait(lock, stop, [this] { return task_ != nullptr; })) return;
      const std::function<void()> task = std::exchange(task_, nullptr);
      lock.unlock();
      task();
    }
  }

  std::mutex mutex_;
  std::condition_variable_any given_;
  std::function<void()> task_;  // under the mutex
  std::jthread thread_;         // the last to be made, the first to end
};

RankThreads::RankThreads() = default;
RankThreads::~RankThreads() = default;

void RankThreads::end() { threads_.clear(); }

void RankThreads::run(int count, const std::function<void(int)>& function) {
  while (threads_.size() < static_cast<std::size_t>(count)) threads_.emplace_back();
  std::latch ended(count);
  std::vector<std::function<void()>> tasks;  // made before any begins: what refers to `ended`
  tasks.reserve(threads_.size());            // must not be left behind by an exception
  for (int i = 0; i < count; ++i) {
    tasks.emplace_back([&, i] {
      function(i);
      ended.count_down();
    });
  }
  for (std::size_t i = 0; i < tasks.size(); ++i) threads_[i].give(std::move(tasks[i]));
  ended.wait();
}

}  // namespace pcpp
