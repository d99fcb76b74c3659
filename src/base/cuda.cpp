#include "base/cuda.h"

#include <atomic>

#include "base/check.h"
#include "base/log.h"

namespace pcpp {

namespace {

// What `query` says of something that may be under way.
bool is_over(cudaError_t status, const char* query) {
  if (status == cudaErrorNotReady) {
    cudaGetLastError();  // no error, and not to be taken for one
    return false;
  }
  check_cuda(status, query);
  return true;
}

}  // namespace

const char* remedy_for(cudaError_t status) {
  switch (status) {
    case cudaErrorMemoryAllocation:
      return "draw a smaller picture or fewer at once, or use more devices";
    case cudaErrorInsufficientDriver:
    case cudaErrorNoDevice:
    case cudaErrorInvalidDevice:
    case cudaErrorDevicesUnavailable:
      return "see nvidia-smi for the devices and the driver, or compute on the cpu";
    case cudaErrorInvalidValue:
    case cudaErrorInvalidResourceHandle:
    case cudaErrorNotSupported:
      return "this is a defect of the library: please report it";
    case cudaErrorStreamCaptureUnsupported:
    case cudaErrorStreamCaptureInvalidated:
    case cudaErrorStreamCaptureUnjoined:
    case cudaErrorStreamCaptureIsolation:
    case cudaErrorStreamCaptureImplicit:
    case cudaErrorCapturedEvent:
      return "where no other thread of the program synchronises the device "
             "(cudaDeviceSynchronize), "
             "this is a defect of the library: turn CUDA graphs off, and please report it";
    default:
      return "the process can no longer use the device: start it again, and look at the system's "
             "log for the device's own report";
  }
}

void check_cuda(cudaError_t status, const char* call) {
  if (status == cudaSuccess) return;
  int device = -1;
  cudaGetDevice(&device);
  cudaGetLastError();  // or the next call would report it once more
  fail<DeviceError>("{} on device {} failed: {} ({}): {}", call, device, cudaGetErrorString(status),
                    cudaGetErrorName(status), remedy_for(status));
}

void log_cuda(cudaError_t status, const char* call) noexcept {
  if (status == cudaSuccess) return;
  cudaGetLastError();  // or the thread's next check would report it
  // A lost device fails every call from there on.
  static std::atomic<cudaError_t> last = cudaSuccess;
  if (last.exchange(status) == status) return;
  log().error("{} failed: {} ({})", call, cudaGetErrorString(status), cudaGetErrorName(status));
}

void set_device(int device) { check_cuda(cudaSetDevice(device), "cudaSetDevice"); }

DeviceGuard::DeviceGuard(int device) {
  check_cuda(cudaGetDevice(&previous_), "cudaGetDevice");
  set_device(device);
}

DeviceGuard::~DeviceGuard() { log_cuda(cudaSetDevice(previous_), "cudaSetDevice"); }

Stream::Stream(StreamPriority priority) {
  int least = 0;
  int greatest = 0;
  check_cuda(cudaDeviceGetStreamPriorityRange(&least, &greatest),
             "cudaDeviceGetStreamPriorityRange");
  cudaStream_t stream = nullptr;
  check_cuda(cudaStreamCreateWithPriority(&stream, cudaStreamNonBlocking,
                                          priority == StreamPriority::high ? greatest : least),
             "cudaStreamCreateWithPriority");
  stream_ = Owned<cudaStream_t, destroy>(stream);
}

void Stream::destroy(cudaStream_t stream) {
  log_cuda(cudaStreamDestroy(stream), "cudaStreamDestroy");
}

void Stream::wait(const Event& event) const {
  check_cuda(cudaStreamWaitEvent(get(), event.get(), 0), "cudaStreamWaitEvent");
}

void Stream::synchronize() const {
  check_cuda(cudaStreamSynchronize(get()), "cudaStreamSynchronize");
}

bool Stream::is_finished() const { return is_over(cudaStreamQuery(get()), "cudaStreamQuery"); }

Event::Event(Timing timing) {
  cudaEvent_t event = nullptr;
  check_cuda(cudaEventCreateWithFlags(
                 &event, timing == Timing::on ? cudaEventDefault : cudaEventDisableTiming),
             "cudaEventCreateWithFlags");
  event_ = Owned<cudaEvent_t, destroy>(event);
}

void Event::destroy(cudaEvent_t event) { log_cuda(cudaEventDestroy(event), "cudaEventDestroy"); }

void Event::record(const Stream& stream) const {
  check_cuda(cudaEventRecord(get(), stream.get()), "cudaEventRecord");
}

bool Event::is_passed() const { return is_over(cudaEventQuery(get()), "cudaEventQuery"); }

double Event::milliseconds_since(const Event& begin) const {
  float milliseconds = 0;
  check_cuda(cudaEventElapsedTime(&milliseconds, begin.get(), get()), "cudaEventElapsedTime");
  return milliseconds;
}

}  // namespace pcpp
