#include "kernels/winograd_body.h"

namespace pcpp {

WinogradKernel winograd_avx2(WinogradTile tile) { return kernel_of(tile); }

}  // namespace pcpp
