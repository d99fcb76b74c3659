// The kernels of each level; each is defined in a file that is compiled for that level.
#ifndef PCPP_KERNELS_ATTENTION_LEVELS_H_
#define PCPP_KERNELS_ATTENTION_LEVELS_H_

#include "kernels/attention.h"

namespace pcpp {

AttentionKernel attention_baseline(VectorElement element);
AttentionKernel attention_avx2(VectorElement element);
AttentionKernel attention_avx512(VectorElement element);
AttentionKernel attention_amx();  // of bfloat16

}  // namespace pcpp

#endif  // PCPP_KERNELS_ATTENTION_LEVELS_H_
