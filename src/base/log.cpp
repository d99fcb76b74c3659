#include "base/log.h"

#include <spdlog/sinks/stdout_color_sinks.h>

#include <cstdlib>
#include <memory>
#include <string_view>

namespace pcpp {

spdlog::logger& log() {
  // A logger of its own, not spdlog's default one, which belongs to the program.
  static const std::shared_ptr<spdlog::logger> logger = [] {
    auto made = std::make_shared<spdlog::logger>(
        "pcpp", std::make_shared<spdlog::sinks::stderr_color_sink_mt>());
    made->set_level(spdlog::level::warn);
    if (const char* asked = std::getenv("PCPP_LOG")) {
      const spdlog::level::level_enum level = spdlog::level::from_str(asked);  // else off
      if (level != spdlog::level::off || std::string_view(asked) == "off") {
        made->set_level(level);
      } else {
        made->warn(
            "PCPP_LOG is '{}': trace, debug, info, warning, error, critical or off is wanted",
            asked);
      }
    }
    return made;
  }();
  return *logger;
}

}  // namespace pcpp
