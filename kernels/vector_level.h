// What this machine's vector units can do.
#ifndef PCPP_KERNELS_VECTOR_LEVEL_H_
#define PCPP_KERNELS_VECTOR_LEVEL_H_

namespace pcpp {

// What a kernel is compiled for, each level including those before it.
enum class VectorLevel { baseline, avx2, avx512, amx };

// The best level that this machine can run, found once. On Linux the first call asks the system to
// let the process use AMX.
VectorLevel vector_level();

}  // namespace pcpp

#endif  // PCPP_KERNELS_VECTOR_LEVEL_H_
