#include "kernels/attention_body.h"

namespace pcpp {

AttentionKernel attention_baseline(AttentionElement element) {
  return element == AttentionElement::float32 ? kernel_of<VectorProduct, float>()
                                              : kernel_of<VectorProduct, Bfloat16>();
}

}  // namespace pcpp
