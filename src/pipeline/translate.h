// libtorch's exceptions become the library's, here and nowhere else.
#ifndef PCPP_PIPELINE_TRANSLATE_H_
#define PCPP_PIPELINE_TRANSLATE_H_

#include <c10/util/Exception.h>

#include <new>
#include <utility>

#include "base/check.h"

namespace pcpp {

// Calls function() and returns what it returns; a failed computation becomes DeviceError.
template <typename Function>
auto translated(Function&& function) {
  try {
    return std::forward<Function>(function)();
  } catch (const std::bad_alloc&) {
    fail<DeviceError>("out of memory: use a smaller picture, fewer images or bfloat16");
  } catch (const c10::OutOfMemoryError& error) {
    fail<DeviceError>("out of memory: use a smaller picture, fewer images or bfloat16 ({})",
                      error.what_without_backtrace());
  } catch (const c10::Error& error) {
    fail<DeviceError>("a computation failed: {}", error.what_without_backtrace());
  }
}

}  // namespace pcpp

#endif  // PCPP_PIPELINE_TRANSLATE_H_
