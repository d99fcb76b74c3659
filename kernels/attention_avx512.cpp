#include "kernels/attention_body.h"

namespace pcpp {

AttentionKernel attention_avx512(VectorElement element) {
  return element == VectorElement::float32 ? kernel_of<VectorProduct, float>()
                                           : kernel_of<VectorProduct, Bfloat16>();
}

}  // namespace pcpp
