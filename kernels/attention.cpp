#include "kernels/attention.h"

#include "kernels/attention_levels.h"

namespace pcpp {

AttentionKernel attention_kernel(VectorElement element, VectorLevel level) {
#if defined(__x86_64__)
  if (level == VectorLevel::amx && element == VectorElement::bfloat16) return attention_amx();
  if (level >= VectorLevel::avx512) return attention_avx512(element);
  if (level == VectorLevel::avx2) return attention_avx2(element);
#endif
  return attention_baseline(element);
}

}  // namespace pcpp
