// By which algorithm each 3x3 convolution of a network computes.
#ifndef PCPP_OPS_CONVOLUTION_CHOICE_H_
#define PCPP_OPS_CONVOLUTION_CHOICE_H_

#include <cstdint>
#include <filesystem>
#include <stop_token>

#include "ops/site_registry.h"
#include "pcpp/pipeline.h"

namespace pcpp {

// A batch of images at level 0.
struct ImageShape {
  std::int64_t batch = 1;
  std::int64_t rows = 0;
  std::int64_t columns = 0;
};

// Lets convolutions that fit Winograd's algorithm use it where that is faster for images of
// `shape`, those first that gain the most for each byte of transformed weights, as long as these
// take at most `most_bytes` more than the plain ones. What is faster is measured, once for all runs
// that share the file `times` (see ops/convolution_costs.h), or, where that is empty, told from
// shapes alone. Depends on nothing else; before the network's first call. Throws as
// measured_costs() does.
ConvolutionWays choose_convolutions(const SiteRegistry& sites, const ImageShape& shape,
                                    std::int64_t most_bytes, const std::filesystem::path& times,
                                    const std::stop_token& stop = {});

}  // namespace pcpp

#endif  // PCPP_OPS_CONVOLUTION_CHOICE_H_
