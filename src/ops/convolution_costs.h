// What 3x3 convolutions of stride 1 cost on a CPU, by each way to compute them.
#ifndef PCPP_OPS_CONVOLUTION_COSTS_H_
#define PCPP_OPS_CONVOLUTION_COSTS_H_

#include <ATen/core/Tensor.h>

#include <array>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <stop_token>
#include <vector>

#include "kernels/winograd.h"

namespace pcpp {

struct ConvolutionShape {
  std::int64_t batch = 1;
  std::int64_t in = 0;
  std::int64_t out = 0;
  std::int64_t rows = 0;
  std::int64_t columns = 0;
  at::ScalarType dtype = at::kFloat;
};

// By definition, or by tiles.
using ConvolutionWay = std::optional<WinogradTile>;
inline constexpr std::array<ConvolutionWay, 3> kConvolutionWays = {std::nullopt, WinogradTile::two,
                                                                   WinogradTile::four};

// Bytes of the weights.
std::int64_t weight_bytes(const ConvolutionShape& shape, ConvolutionWay way);

// Comparable with others of the same function.
using ConvolutionCosts = std::function<double(const ConvolutionShape&, ConvolutionWay)>;

// From arithmetic and bytes: the same on every machine.
double estimated_cost(const ConvolutionShape& shape, ConvolutionWay way);

// libpcpp/convolutions.json in the user's cache (see io/user_cache.h); empty where there is none.
std::filesystem::path default_convolution_times();

// Throws ConfigError where the caller of the library named a file that measured_costs() would
// refuse, or a new one that cannot be written. The default one and an empty path pass.
void check_convolution_times(const std::filesystem::path& file);

// Milliseconds on this machine with libtorch's present number of threads. What `file` does not tell
// of `shapes` is timed, and added to it. It keeps what it tells of other processors, vector levels,
// numbers of threads and versions of the library. The default file's folder is made, and where it
// cannot be read as such a file it is replaced, with a warning; any other file that is neither new
// nor empty nor such a file is left as it is, and ConfigError thrown. Where the file cannot be
// written, nothing is timed and the costs are the estimated ones, with a warning: so that what is
// chosen by them is the same in the next run. Throws Cancelled between two timings once a stop is
// requested; what was timed until then is in the file.
ConvolutionCosts measured_costs(const std::filesystem::path& file,
                                const std::vector<ConvolutionShape>& shapes,
                                const std::stop_token& stop = {});

}  // namespace pcpp

#endif  // PCPP_OPS_CONVOLUTION_COSTS_H_
