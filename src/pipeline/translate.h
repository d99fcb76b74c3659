// Exceptions of libtorch and of other libraries become this library's, here and nowhere else.
#ifndef PCPP_PIPELINE_TRANSLATE_H_
#define PCPP_PIPELINE_TRANSLATE_H_

#include <c10/util/Exception.h>

#include <exception>
#include <new>
#include <string>
#include <string_view>
#include <utility>

#include "base/check.h"
#include "base/excerpt.h"

namespace pcpp {

// Carries what a function of the caller's threw past all ranks, as it is.
struct CallersError {
  std::exception_ptr error;
};

// Calls function() and returns what it returns. A failed computation becomes DeviceError, which
// names `device`, what else derives from std::exception becomes Error with its text; CallersError
// passes.
template <typename Function>
auto translated(std::string_view device, Function&& function) {
  constexpr const char* kSmaller =
      "use a smaller picture, fewer images, a 16-bit dtype or more devices";
  try {
    return std::forward<Function>(function)();
  } catch (const CallersError&) {
    throw;
  } catch (const std::bad_alloc&) {
    fail<DeviceError>("out of memory on {}: {}", device, kSmaller);
  } catch (const c10::OutOfMemoryError& error) {
    fail<DeviceError>("out of memory on {}: {}, or turn CUDA graphs off ({})", device, kSmaller,
                      first_line(error.what_without_backtrace()));
  } catch (const c10::AcceleratorError& error) {
    // cudaErrorStreamCaptureUnsupported to cudaErrorStreamCaptureWrongThread.
    const bool of_graphs = error.get_error_code() >= 900 && error.get_error_code() <= 908;
    fail<DeviceError>("{} failed: {}: {}", device, first_line(error.what_without_backtrace()),
                      of_graphs ? "where no other thread of the program synchronises the device "
                                  "(cudaDeviceSynchronize), this is a defect of the library: turn "
                                  "CUDA graphs off, and please report it"
                                : "the process may no longer be able to use it: start it again, "
                                  "and look at the system's log for the device's own report");
  } catch (const c10::Error& error) {
    const std::string text = first_line(error.what_without_backtrace());
    // No kind of its own tells that memory of the CPU is spent.
    if (text.find("DefaultCPUAllocator") != std::string::npos) {
      fail<DeviceError>("out of memory on {}: {} ({})", device, kSmaller, text);
    }
    const bool of_attention = text.find("cuDNN Frontend") != std::string::npos;
    const bool on_gpu = device.starts_with("cuda");
    fail<DeviceError>("a computation on {} failed: {}{}", device, text,
                      of_attention ? ": where attention is auto or cudnn, take flash or efficient"
                      : on_gpu ? ": where this repeats, start the process again, and look at the "
                                 "system's log for the device's own report"
                               : "");
  } catch (const Error&) {
    throw;
  } catch (const std::exception& error) {
    // oneDNN's, whose type libtorch keeps to itself.
    const std::string_view text(error.what());
    const auto names = [&](const char* part) { return text.find(part) != text.npos; };
    if (text.starts_with("could not ") && (names("primitive") || names("memory"))) {
      fail<DeviceError>("a computation on {} failed: {}, most often for want of memory: {}", device,
                        error.what(), kSmaller);
    }
    fail<Error>("an unexpected error on {}: {}: please report it", device, error.what());
  }
}

}  // namespace pcpp

#endif  // PCPP_PIPELINE_TRANSLATE_H_
