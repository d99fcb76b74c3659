// Convolutions by the kernels of kernels/winograd.h.
#ifndef PCPP_OPS_WINOGRAD_H_
#define PCPP_OPS_WINOGRAD_H_

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "kernels/winograd.h"
#include "ops/patch_context.h"

namespace pcpp {

// A 3x3 convolution of stride 1 whose weights are transformed once. Immutable.
//
// In the 2-norm and relative to the result, float32 rounds to 1e-6 with tiles of two (less than the
// convolution by definition does) and to 5e-6 with tiles of four; of bfloat16 only the results are
// rounded, as all else is float32.
class WinogradConvolution {
 public:
  // `weight` [out, in, 3, 3], float32 or bfloat16 on the CPU.
  WinogradConvolution(const at::Tensor& weight, WinogradTile tile);

  // Writes `addend` (which may be `output`; undefined: nothing) + `bias` [out] + the
  // convolution of `input` between the rows of `halo`, with zeros left and right and where the halo
  // has no row. All are channels-last and of the weights' type.
  void operator()(const at::Tensor& input, const Neighbours& halo, const at::Tensor& bias,
                  const at::Tensor& addend, const at::Tensor& output) const;

  WinogradTile tile() const { return tile_; }

  // Bytes of the transformed weights.
  static std::int64_t weight_bytes(std::int64_t in, std::int64_t out, WinogradTile tile);

 private:
  WinogradTile tile_;
  at::ScalarType dtype_;
  WinogradKernel kernel_;
  std::int64_t in_;
  std::int64_t out_;
  at::Tensor packed_;
};

}  // namespace pcpp

#endif  // PCPP_OPS_WINOGRAD_H_
