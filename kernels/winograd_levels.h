// The kernels of each level; each is defined in a file that is compiled for that level.
#ifndef PCPP_KERNELS_WINOGRAD_LEVELS_H_
#define PCPP_KERNELS_WINOGRAD_LEVELS_H_

#include "kernels/winograd.h"

namespace pcpp {

WinogradKernel winograd_baseline(WinogradTile tile, VectorElement element);
WinogradKernel winograd_avx2(WinogradTile tile, VectorElement element);
WinogradKernel winograd_avx512(WinogradTile tile, VectorElement element);

}  // namespace pcpp

#endif  // PCPP_KERNELS_WINOGRAD_LEVELS_H_
