#include "kernels/winograd_body.h"

namespace pcpp {

WinogradKernel winograd_avx512(WinogradTile tile) { return kernel_of(tile); }

}  // namespace pcpp
