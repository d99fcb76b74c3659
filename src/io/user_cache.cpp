#include "io/user_cache.h"

#include <cstdlib>

#include "io/input_file.h"

namespace pcpp {

std::filesystem::path user_cache() {
  const auto folder = [](const char* variable) {
    const char* value = std::getenv(variable);
    const std::filesystem::path path(value == nullptr ? "" : value);
    return path.is_absolute() ? from_root(path) : std::filesystem::path();
  };
  if (const std::filesystem::path cache = folder("XDG_CACHE_HOME"); !cache.empty()) {
    return cache / "libpcpp";
  }
  const std::filesystem::path home = folder("HOME");
  return home.empty() ? home : home / ".cache" / "libpcpp";
}

}  // namespace pcpp
