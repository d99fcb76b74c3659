// By which algorithm each 3x3 convolution of a network computes.
#ifndef PCPP_OPS_CONVOLUTION_CHOICE_H_
#define PCPP_OPS_CONVOLUTION_CHOICE_H_

#include <cstdint>

#include "ops/site_registry.h"

namespace pcpp {

// A batch of images at level 0.
struct ImageShape {
  std::int64_t batch = 1;
  std::int64_t rows = 0;
  std::int64_t columns = 0;
};

// Lets convolutions that fit Winograd's algorithm use it where that is faster for images of
// `shape`, those first that gain the most for each byte of transformed weights, as long as these
// take at most `most_bytes` more than the plain ones. Returns what they take more. Depends on
// nothing else; before the network's first call.
std::int64_t choose_convolutions(const SiteRegistry& sites, const ImageShape& shape,
                                 std::int64_t most_bytes);

}  // namespace pcpp

#endif  // PCPP_OPS_CONVOLUTION_CHOICE_H_
