// A CUDA runtime for test programs without a GPU: linked in place of the real one, it defines the
// functions that the library calls.
//
// Memory is the host's. A stream is a queue of operations that run only when the schedule lets
// them: as late or as early as CUDA's rules allow, so that an order that is not asked for is not
// kept. What a rank reads too early is a pattern that no test writes. As in CUDA, a wait for an
// event that was never recorded is no wait.
#ifndef PCPP_TESTS_SUPPORT_FAKE_CUDA_H_
#define PCPP_TESTS_SUPPORT_FAKE_CUDA_H_

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

namespace pcpp::testing {

enum class Schedule {
  eager,         // everything as soon as it may
  lazy,          // everything only when a host asks for something after it
  early_copies,  // copies between ranks as soon as they may, computations only when asked for
  late_copies,   // the other way round
  random,        // anything that may run, at random by seed
};

struct FakeCudaOptions {
  Schedule schedule = Schedule::eager;
  std::uint32_t seed = 1;
  int devices = 1;
  bool peer_access = true;                           // between any two devices
  std::size_t memory_bytes = std::size_t{64} << 30;  // of each device
  int stalled_device = -1;                           // one whose streams run nothing
  // libtorch's CUDA half runs on it: default streams are served, and what it keeps for its process
  // (memory, events) need not be given back.
  bool libtorch = false;
};

// The state of the devices between the object's making and its end, which expects (as a test's
// failure) that no rule was broken and that everything was given back. One at a time.
class FakeCuda {
 public:
  explicit FakeCuda(const FakeCudaOptions& options);
  ~FakeCuda();
  FakeCuda(const FakeCuda&) = delete;
  FakeCuda& operator=(const FakeCuda&) = delete;

  // The call of `function` after the next `calls_before` ones returns `error`; with `lost`, so does
  // every later call of any function on the same device, but for those that free.
  void fail(const std::string& function, cudaError_t error, int calls_before = 0,
            bool lost = false);
  // Expects that no rule was broken since the last call.
  void expect_no_problems();
  // For what follows; `devices` and `libtorch` stay as they were.
  void set_options(const FakeCudaOptions& options);
  // Lost devices work again, and no more calls fail.
  void recover();
  std::size_t used_bytes(int device) const;
  // Streams, events and graphs that were made and not destroyed.
  std::size_t live_handles() const;
  // How often `function` was called.
  int calls(const std::string& function) const;
  // Whether `device` was ever made a thread's present one.
  bool has_context(int device) const;
};

namespace fake_cuda {

// For a fake library whose operations run on streams of the fake runtime.

struct Marker;
using MarkerPtr = std::shared_ptr<Marker>;

struct Range {
  const void* address = nullptr;
  std::size_t bytes = 0;
};

enum class Kind { compute, copy, order };

struct Operation {
  Kind kind = Kind::compute;
  std::function<void()> run;
  std::function<bool()> ready;  // none: always
  std::function<void()> pull;   // lets run what it needs to become ready
  std::vector<Range> ranges;    // that it touches: they must be allocated until it has run
  MarkerPtr marker;             // passed once it has run
};

// All that follows holds this lock, as every call of the runtime does.
std::unique_lock<std::mutex> lock();
// Returns the operation's marker. On a stream that captures the operation becomes a graph's.
MarkerPtr enqueue(cudaStream_t stream, Operation operation);
// Whether nothing stands before the operation in its stream.
bool is_reached(const MarkerPtr& marker);
// Runs what stands before the operation in its stream, as far as it may; `through`: and itself.
void run_up_to(const MarkerPtr& marker, bool through);
// After a change of what operations are ready for: lets the schedule run.
void changed();
// A rule was broken: the test fails with this text when the FakeCuda object ends.
void report(const std::string& problem);
int stream_device(cudaStream_t stream);
// What a kernel's launch is: a computation on a stream of the present device.
cudaError_t launch(cudaStream_t stream, std::function<void()> run, std::vector<Range> ranges = {});
std::uint32_t random();

}  // namespace fake_cuda

}  // namespace pcpp::testing

#endif  // PCPP_TESTS_SUPPORT_FAKE_CUDA_H_
