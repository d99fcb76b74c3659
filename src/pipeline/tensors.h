// Between the public host tensors and libtorch's.
#ifndef PCPP_PIPELINE_TENSORS_H_
#define PCPP_PIPELINE_TENSORS_H_

#include <ATen/core/Tensor.h>

#include "pcpp/config.h"

namespace pcpp {

// A float32 copy. Throws ConfigError, with `name`, where shape and values disagree or a value is
// not finite.
at::Tensor to_tensor(const FloatTensor& source, const char* name);
FloatTensor to_host(const at::Tensor& source);

}  // namespace pcpp

#endif  // PCPP_PIPELINE_TENSORS_H_
