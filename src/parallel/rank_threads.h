// Threads that stay from one call to the next.
#ifndef PCPP_PARALLEL_RANK_THREADS_H_
#define PCPP_PARALLEL_RANK_THREADS_H_

#include <deque>
#include <functional>

namespace pcpp {

// cuDNN's plans, and all else that libraries keep by thread, are found again by the next call. Not
// thread-safe.
class RankThreads {
 public:
  RankThreads();
  ~RankThreads();
  RankThreads(const RankThreads&) = delete;
  RankThreads& operator=(const RankThreads&) = delete;

  // Calls function(i) on thread i for each i below `count`, at once, and returns when all calls
  // have. `function` throws nothing.
  void run(int count, const std::function<void(int)>& function);

  // Ends the threads: the next call begins others.
  void end();

 private:
  class Thread;
  std::deque<Thread> threads_;
};

}  // namespace pcpp

#endif  // PCPP_PARALLEL_RANK_THREADS_H_
