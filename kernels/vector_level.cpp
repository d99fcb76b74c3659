#include "kernels/vector_level.h"

#if defined(__x86_64__)
#include <cpuid.h>
#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif
#endif

namespace pcpp {

namespace {

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

VectorLevel find_vector_level() {
  __builtin_cpu_init();
  // x86-64-v3 and v4, by features that tell machines apart.
  if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma") ||
      !__builtin_cpu_supports("bmi2")) {
    return VectorLevel::baseline;
  }
  if (!__builtin_cpu_supports("avx512f") || !__builtin_cpu_supports("avx512bw") ||
      !__builtin_cpu_supports("avx512cd") || !__builtin_cpu_supports("avx512dq") ||
      !__builtin_cpu_supports("avx512vl")) {
    return VectorLevel::avx2;
  }
  return may_use_tiles() ? VectorLevel::amx : VectorLevel::avx512;
}
#else
VectorLevel find_vector_level() { return VectorLevel::baseline; }
#endif

}  // namespace

VectorLevel vector_level() {
  static const VectorLevel level = find_vector_level();
  return level;
}

}  // namespace pcpp
