#include "kernels/vector_level.h"

#include <cstdlib>
#include <string>

#include "pcpp/error.h"

#if defined(__x86_64__)
#include <cpuid.h>
#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif
#endif

namespace pcpp {

namespace {

VectorLevel highest_allowed() {
  const char* name = std::getenv("PCPP_VECTOR_LEVEL");
  if (name == nullptr) return kVectorLevels.back();
  std::string known;
  for (const VectorLevel level : kVectorLevels) {
    if (std::string_view(name) == name_of(level)) return level;
    known += (known.empty() ? "" : ", ") + std::string(name_of(level));
  }
  throw ConfigError("PCPP_VECTOR_LEVEL is '" + std::string(name) + "': make it one of " + known);
}

#if defined(__x86_64__)
// The kernel saves tiles only for processes that have asked for them.
bool may_use_tiles() {
#if defined(__linux__)
  constexpr long kRequestPermission = 0x1023;  // ARCH_REQ_XCOMP_PERM
  constexpr long kTileData = 18;
  unsigned eax = 0;
  unsigned ebx = 0;
  unsigned ecx = 0;
  unsigned edx = 0;
  if (__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) == 0) return false;
  constexpr unsigned kAmxBf16 = 1U << 22;
  constexpr unsigned kAmxTile = 1U << 24;
  return (edx & kAmxBf16) != 0 && (edx & kAmxTile) != 0 &&
         syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
#else
  return false;
#endif
}

// Asks for tiles only where they are wanted.
VectorLevel best_level(VectorLevel allowed) {
  __builtin_cpu_init();
  // x86-64-v3 and v4, by features that tell machines apart.
  if (allowed < VectorLevel::avx2 || !__builtin_cpu_supports("avx2") ||
      !__builtin_cpu_supports("fma") || !__builtin_cpu_supports("bmi2")) {
    return VectorLevel::baseline;
  }
  if (allowed < VectorLevel::avx512 || !__builtin_cpu_supports("avx512f") ||
      !__builtin_cpu_supports("avx512bw") || !__builtin_cpu_supports("avx512cd") ||
      !__builtin_cpu_supports("avx512dq") || !__builtin_cpu_supports("avx512vl")) {
    return VectorLevel::avx2;
  }
  return allowed >= VectorLevel::amx && may_use_tiles() ? VectorLevel::amx : VectorLevel::avx512;
}
#else
VectorLevel best_level(VectorLevel) { return VectorLevel::baseline; }
#endif

}  // namespace

std::string_view name_of(VectorLevel level) {
  constexpr std::string_view kNames[] = {"baseline", "avx2", "avx512", "amx"};
  return kNames[static_cast<int>(level)];
}

VectorLevel vector_level() {
  static const VectorLevel level = best_level(highest_allowed());
  return level;
}

}  // namespace pcpp
