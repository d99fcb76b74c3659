// Weights with what a LoRA makes of them.
#ifndef PCPP_OPS_APPLY_LORA_H_
#define PCPP_OPS_APPLY_LORA_H_

#include <ATen/core/Tensor.h>

#include <string>

#include "io/lora_update.h"

namespace pcpp {

// A weight [outputs, inputs, ...] on the CPU, which the update must fit, as the update says,
// computed and returned in float32. Throws CheckpointError with `name` where a value of the update
// is not a finite float32 number; the sum may be none.
at::Tensor apply_lora(const at::Tensor& weight, const LoraUpdate& update, const std::string& name);

}  // namespace pcpp

#endif  // PCPP_OPS_APPLY_LORA_H_
