#include "kernels/winograd.h"

#include "kernels/winograd_levels.h"

namespace pcpp {

WinogradKernel winograd_kernel(WinogradTile tile, VectorElement element, VectorLevel level) {
#if defined(__x86_64__)
  if (level >= VectorLevel::avx512) return winograd_avx512(tile, element);
  if (level == VectorLevel::avx2) return winograd_avx2(tile, element);
#endif
  return winograd_baseline(tile, element);
}

}  // namespace pcpp
