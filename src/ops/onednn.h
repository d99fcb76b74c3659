// oneDNN's operators behind libtorch's dispatcher, which its C++ headers do not declare. Weights
// are packed once into oneDNN's own layouts; a packed weight keeps its sizes and is read by these
// functions alone.
#ifndef PCPP_OPS_ONEDNN_H_
#define PCPP_OPS_ONEDNN_H_

#include <ATen/core/Tensor.h>

namespace pcpp {

// Whether all that follows is there for weights like `weight`, and serves its dtype on this
// machine.
bool onednn_serves(const at::Tensor& weight);

// `weight` [out, in] for linear_packed.
at::Tensor pack_linear(const at::Tensor& weight);
// input [..., in] contiguous -> [..., out]; `bias` [out] or undefined.
at::Tensor linear_packed(const at::Tensor& input, const at::Tensor& weight, const at::Tensor& bias);

// `weight` [out, in, height, width], as convolve_packed reads it fastest for inputs of
// `input_sizes`.
at::Tensor pack_convolution(const at::Tensor& weight, at::IntArrayRef padding,
                            at::IntArrayRef stride, at::IntArrayRef input_sizes);
// The convolution of a channels-last input.
at::Tensor convolve_packed(const at::Tensor& input, const at::Tensor& weight,
                           const at::Tensor& bias, at::IntArrayRef padding, at::IntArrayRef stride);
// Adds it to `sum`, channels-last, which nothing else may look into.
void add_convolved_packed(const at::Tensor& sum, const at::Tensor& input, const at::Tensor& weight,
                          const at::Tensor& bias, at::IntArrayRef padding, at::IntArrayRef stride);

// For who lays out weights, before each. Aligned allocations do not fit the holes that equal ones
// left: to lay out one weight after the other would take the memory of all of them twice. Acts once
// in so many bytes of weights, as it takes longer than to lay out a small one.
void give_back_freed_memory(const at::Tensor& weight);

// Two packed weights lie alike where oneDNN describes them by the same bytes.
at::Tensor layout_of(const at::Tensor& packed);

}  // namespace pcpp

#endif  // PCPP_OPS_ONEDNN_H_
