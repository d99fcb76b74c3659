#include "kernels/winograd_body.h"

namespace pcpp {

WinogradKernel winograd_baseline(WinogradTile tile) { return kernel_of(tile); }

}  // namespace pcpp
