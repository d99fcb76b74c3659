#include "kernels/winograd_body.h"

namespace pcpp {

WinogradKernel winograd_avx2(WinogradTile tile, WinogradElement element) {
  return kernel_of(tile, element);
}

}  // namespace pcpp
