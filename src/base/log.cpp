#include "base/log.h"

#include <spdlog/sinks/stdout_color_sinks.h>

#include <cstdlib>
#include <memory>

namespace pcpp {

spdlog::logger& log() {
  // A logger of its own, not spdlog's default one, which belongs to the program.
  static const std::shared_ptr<spdlog::logger> logger = [] {
    auto made = std::make_shared<spdlog::logger>(
        "pcpp", std::make_shared<spdlog::sinks::stderr_color_sink_mt>());
    const char* level = std::getenv("PCPP_LOG");
    made->set_level(level == nullptr ? spdlog::level::warn : spdlog::level::from_str(level));
    return made;
  }();
  return *logger;
}

}  // namespace pcpp
