// What this machine's vector units can do.
#ifndef PCPP_KERNELS_VECTOR_LEVEL_H_
#define PCPP_KERNELS_VECTOR_LEVEL_H_

#include <array>
#include <string_view>

namespace pcpp {

// What a kernel is compiled for, each level including those before it.
enum class VectorLevel { baseline, avx2, avx512, amx };

// What those kernels read and write; they add up in float32.
enum class VectorElement { float32, bfloat16 };

inline constexpr std::array kVectorLevels = {VectorLevel::baseline, VectorLevel::avx2,
                                             VectorLevel::avx512, VectorLevel::amx};

std::string_view name_of(VectorLevel level);

// The best level that this machine can run, at most that of the environment's PCPP_VECTOR_LEVEL,
// found once. On Linux the first call asks the system to let the process use AMX. Throws
// ConfigError where the environment names no level. (libtorch and its oneDNN have variables of
// their own, ATEN_CPU_CAPABILITY and ONEDNN_MAX_CPU_ISA.)
VectorLevel vector_level();

}  // namespace pcpp

#endif  // PCPP_KERNELS_VECTOR_LEVEL_H_
