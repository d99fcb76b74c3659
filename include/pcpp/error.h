// The errors that libpcpp throws. The kinds differ because callers act differently on them; the
// text names the value, the rule that it breaks and the remedy.
#ifndef PCPP_ERROR_H_
#define PCPP_ERROR_H_

#include <stdexcept>
#include <string>

#include "pcpp/export.h"

namespace pcpp {

// Base of every exception that leaves the library, but std::bad_alloc where images or tensor files
// do not fit into memory.
class PCPP_EXPORT Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
  ~Error() override;
};

// The request or a setting is wrong: mend the request and call again.
class PCPP_EXPORT ConfigError : public Error {
 public:
  using Error::Error;
  ~ConfigError() override;
};

// A file of the model, or a file that the request names, is missing, damaged or not supported.
class PCPP_EXPORT CheckpointError : public Error {
 public:
  using Error::Error;
  ~CheckpointError() override;
};

// A file that was asked for cannot be written: no such folder, no right to, a full disk.
class PCPP_EXPORT OutputError : public Error {
 public:
  using Error::Error;
  ~OutputError() override;
};

// Ranks could not reach each other before the deadline, or a peer failed.
class PCPP_EXPORT TransportError : public Error {
 public:
  using Error::Error;
  ~TransportError() override;
};

// The device or its library failed: out of memory, lost device, a failed computation.
class PCPP_EXPORT DeviceError : public Error {
 public:
  using Error::Error;
  ~DeviceError() override;
};

// The request was cancelled through its stop token.
class PCPP_EXPORT Cancelled : public Error {
 public:
  using Error::Error;
  ~Cancelled() override;
};

}  // namespace pcpp

#endif  // PCPP_ERROR_H_
