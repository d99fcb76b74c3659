// The CUDA runtime's things, each owned by a move-only type, and its errors as the library's.
//
// What frees throws nothing: an error there goes to the log.
#ifndef PCPP_BASE_CUDA_H_
#define PCPP_BASE_CUDA_H_

#include <cuda_runtime_api.h>

#include <cstddef>
#include <utility>

namespace pcpp {

// Throws DeviceError, which names the call, the present device and the remedy, unless `status` is
// cudaSuccess. `call` is the function that returned it.
void check_cuda(cudaError_t status, const char* call);

// Writes to the log unless `status` is cudaSuccess or what was written last: for what must not
// throw.
void log_cuda(cudaError_t status, const char* call) noexcept;

// The remedy for an error of the runtime, as the end of a sentence.
const char* remedy_for(cudaError_t status);

// A resource that is freed once, by `Free`, where it is not zero.
template <typename Handle, void (*Free)(Handle)>
class Owned {
 public:
  explicit Owned(Handle handle = Handle()) : handle_(handle) {}
  ~Owned() {
    if (handle_ != Handle()) Free(handle_);
  }
  Owned(Owned&& other) noexcept : handle_(std::exchange(other.handle_, Handle())) {}
  Owned& operator=(Owned&& other) noexcept {
    std::swap(handle_, other.handle_);
    return *this;
  }
  Handle get() const { return handle_; }

 private:
  Handle handle_;
};

// Makes `device` the calling thread's present one from here on.
void set_device(int device);

// The same for as long as it lives. Only for a thread that has made a device its present one
// before: going back to the one that it begins with would make a context there.
class DeviceGuard {
 public:
  explicit DeviceGuard(int device);
  ~DeviceGuard();
  DeviceGuard(const DeviceGuard&) = delete;
  DeviceGuard& operator=(const DeviceGuard&) = delete;

 private:
  int previous_ = 0;
};

class Event;

enum class StreamPriority { normal, high };

// A stream of the present device that does not wait for the default one.
class Stream {
 public:
  explicit Stream(StreamPriority priority = StreamPriority::normal);

  cudaStream_t get() const { return stream_.get(); }
  // What follows on this stream starts after what `event` was last recorded after. The record must
  // have been called already: a wait for an event that was never recorded is no wait.
  void wait(const Event& event) const;
  // The host waits for all that the stream was given.
  void synchronize() const;
  // Whether the stream has done all that it was given.
  bool is_finished() const;

 private:
  static void destroy(cudaStream_t stream);
  Owned<cudaStream_t, destroy> stream_;
};

// A point in a stream of the device that was present when the event was made.
class Event {
 public:
  enum class Timing { off, on };
  explicit Event(Timing timing = Timing::off);

  cudaEvent_t get() const { return event_.get(); }
  void record(const Stream& stream) const;
  // Whether the stream has passed the last record; true where there is none.
  bool is_passed() const;
  // From `begin` to this event, both passed and with timing on.
  double milliseconds_since(const Event& begin) const;

 private:
  static void destroy(cudaEvent_t event);
  Owned<cudaEvent_t, destroy> event_;
};

}  // namespace pcpp

#endif  // PCPP_BASE_CUDA_H_
