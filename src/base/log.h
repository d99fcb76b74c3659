// What the library tells its user on the way, on the standard error.
#ifndef PCPP_BASE_LOG_H_
#define PCPP_BASE_LOG_H_

#include <spdlog/logger.h>

namespace pcpp {

// Silent below warnings, unless the environment's PCPP_LOG names another level: trace, debug, info,
// warning, error, critical or off; another word is warned of. Thread-safe.
spdlog::logger& log();

}  // namespace pcpp

#endif  // PCPP_BASE_LOG_H_
