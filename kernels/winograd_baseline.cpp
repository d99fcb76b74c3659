#include "kernels/winograd_body.h"

namespace pcpp {

WinogradKernel winograd_baseline(WinogradTile tile, WinogradElement element) {
  return kernel_of(tile, element);
}

}  // namespace pcpp
