// The state of the fake CUDA runtime, shared by its own files.
#ifndef PCPP_TESTS_SUPPORT_FAKE_CUDA_MACHINE_H_
#define PCPP_TESTS_SUPPORT_FAKE_CUDA_MACHINE_H_

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <random>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "support/fake_cuda.h"

namespace pcpp::testing::fake_cuda {

struct Capture {
  std::vector<Operation> operations;
  std::thread::id thread;
};

}  // namespace pcpp::testing::fake_cuda

struct CUstream_st {
  int device = 0;
  bool destroyed = false;
  bool running = false;  // is being asked for, further up the calls
  std::deque<pcpp::testing::fake_cuda::Operation> queue;
  std::unique_ptr<pcpp::testing::fake_cuda::Capture> capture;
};

struct CUevent_st {
  int device = 0;
  bool timing = false;
  bool destroyed = false;
  pcpp::testing::fake_cuda::MarkerPtr recorded;
};

namespace pcpp::testing::fake_cuda {

struct Marker {
  CUstream_st* stream = nullptr;
  bool passed = false;
  double milliseconds = 0;  // of the fake clock, when it was passed
};

inline thread_local int present_device = 0;
inline thread_local cudaError_t last_error = cudaSuccess;
inline thread_local int captures = 0;  // of this thread, under way
inline thread_local cudaStreamCaptureMode capture_mode = cudaStreamCaptureModeGlobal;

struct Failure {
  cudaError_t error = cudaSuccess;
  int calls_before = 0;
  bool lost = false;
};

struct Block {
  std::size_t bytes = 0;
  int device = 0;
};

struct Machine {
  std::mutex mutex;
  std::condition_variable changed;
  bool open = false;
  FakeCudaOptions options;
  std::mt19937 engine;
  std::vector<std::unique_ptr<CUstream_st>> streams;  // all that ever were
  std::map<int, CUstream_st*> default_streams;        // by device
  std::vector<std::unique_ptr<CUevent_st>> events;
  std::map<std::byte*, Block> blocks;
  std::map<std::byte*, Block> pinned;     // memory of the host's
  std::map<int, std::size_t> used_bytes;  // by device
  std::set<std::pair<int, int>> peers;    // enabled: from, to
  int graphs = 0;                         // and executables, that live
  std::map<std::string, int> calls;
  std::map<std::string, Failure> failures;
  std::map<int, cudaError_t> lost;  // by device
  std::set<int> contexts;           // devices that have one
  std::vector<std::string> problems;
  double milliseconds = 0;
};

Machine& machine();

// The stream that a call with `stream` means.
cudaStream_t served(cudaStream_t stream);
bool is_live(cudaStream_t stream);
bool is_live(cudaEvent_t event);
// What a thread that captures, and is not relaxed about it, must not call.
bool is_unsafe_in_captures(const std::string& function);

// Where [address, address + bytes) lies within one of the blocks; null where it does not.
const Block* block_of(const void* address, std::size_t bytes,
                      const std::map<std::byte*, Block>& blocks = machine().blocks);

// One call of the runtime: holds the lock, and knows what it is to return.
class Call {
 public:
  explicit Call(const char* function, bool frees = false) : lock_(lock()) {
    Machine& m = machine();
    if (!m.open) report("a call outside of a FakeCuda object's life");
    ++m.calls[function];
    if (captures > 0 && capture_mode != cudaStreamCaptureModeRelaxed &&
        is_unsafe_in_captures(function)) {
      report(std::string(function) + " on a thread that captures");
    }
    const auto lost = m.lost.find(present_device);
    if (lost != m.lost.end() && !frees) status_ = lost->second;
    const auto failure = m.failures.find(function);
    if (failure == m.failures.end() || failure->second.calls_before-- > 0) return;
    status_ = failure->second.error;
    if (failure->second.lost) m.lost[present_device] = status_;
    m.failures.erase(failure);
  }
  ~Call() {
    if (status_ != cudaSuccess && status_ != cudaErrorNotReady) last_error = status_;
  }
  Call(const Call&) = delete;
  Call& operator=(const Call&) = delete;

  bool failed() const { return status_ != cudaSuccess; }
  cudaError_t status() const { return status_; }
  cudaError_t fails(cudaError_t status) { return status_ = status; }
  // A broken rule that is no mistake of a machine but one of the program.
  cudaError_t breaks(const std::string& rule) {
    report(rule);
    return fails(cudaErrorInvalidValue);
  }
  void wait() { machine().changed.wait(lock_); }

 private:
  std::unique_lock<std::mutex> lock_;
  cudaError_t status_ = cudaSuccess;
};

// Holds the caller until the stream has done all that it was given.
inline void finish(Call& call, cudaStream_t stream) {
  while (!stream->queue.empty()) {
    run_up_to(MarkerPtr(stream->queue.back().marker), true);
    if (!stream->queue.empty()) call.wait();
  }
}

}  // namespace pcpp::testing::fake_cuda

#endif  // PCPP_TESTS_SUPPORT_FAKE_CUDA_MACHINE_H_
