#include "ops/convolution_choice.h"

#include <algorithm>
#include <vector>

#include "base/log.h"
#include "ops/conv2d.h"
#include "ops/convolution_costs.h"
#include "parallel/topology.h"

namespace pcpp {

namespace {

// Channels below which a tile's transforms cost more than its products save.
constexpr std::int64_t kLeastChannels = 32;

struct Candidate {
  Kernel3x3* kernel = nullptr;
  ConvolutionShape shape;
  ConvolutionWay way;
};

std::vector<Candidate> candidates(const SiteRegistry& sites, const ImageShape& images) {
  std::vector<Candidate> result;
  for (const PlacedConvolution& placed : sites.convolutions()) {
    const Kernel3x3& kernel = *placed.kernel;
    if (!kernel.fits_winograd() || std::min(kernel.in(), kernel.out()) < kLeastChannels) continue;
    // AMX's products of bfloat16 are faster than any saving.
    if (kernel.dtype() != at::kFloat && vector_level() == VectorLevel::amx) continue;
    // Beyond the latents' own size a pixel costs the same, and more of them only longer to time.
    const int level = std::max(placed.level, 0);
    result.push_back({placed.kernel.get(),
                      {images.batch, kernel.in(), kernel.out(), rows_at_level(images.rows, level),
                       rows_at_level(images.columns, level), kernel.dtype()},
                      std::nullopt});
  }
  return result;
}

ConvolutionCosts costs_of(const std::vector<Candidate>& all, const std::filesystem::path& times,
                          const std::stop_token& stop) {
  if (times.empty()) return estimated_cost;
  std::vector<ConvolutionShape> shapes;
  for (const Candidate& candidate : all) shapes.push_back(candidate.shape);
  return measured_costs(times, shapes, stop);
}

struct Step {
  Candidate* candidate = nullptr;
  ConvolutionWay way;
  std::int64_t bytes = 0;
  double gain = 0;  // for each byte
};

// The best next step that takes no more than `most_bytes`.
Step best_step(std::vector<Candidate>& all, const ConvolutionCosts& cost, std::int64_t most_bytes) {
  Step best;
  for (Candidate& candidate : all) {
    for (const ConvolutionWay way : kConvolutionWays) {
      const std::int64_t bytes =
          weight_bytes(candidate.shape, way) - weight_bytes(candidate.shape, candidate.way);
      if (bytes <= 0 || bytes > most_bytes) continue;
      const double gain = (cost(candidate.shape, candidate.way) - cost(candidate.shape, way)) /
                          static_cast<double>(bytes);
      if (gain > best.gain) best = {&candidate, way, bytes, gain};
    }
  }
  return best;
}

}  // namespace

ConvolutionWays choose_convolutions(const SiteRegistry& sites, const ImageShape& shape,
                                    std::int64_t most_bytes, const std::filesystem::path& times,
                                    const std::stop_token& stop) {
  ConvolutionWays ways;
  std::vector<Candidate> all = candidates(sites, shape);
  if (most_bytes > 0 && !all.empty()) {
    const ConvolutionCosts cost = costs_of(all, times, stop);
    for (Step step = best_step(all, cost, most_bytes); step.candidate != nullptr;
         step = best_step(all, cost, most_bytes - ways.extra_weight_bytes)) {
      step.candidate->way = step.way;
      ways.extra_weight_bytes += step.bytes;
    }
  }
  for (const Candidate& candidate : all) {
    if (!candidate.way) continue;
    candidate.kernel->use_winograd(*candidate.way);
    ++(*candidate.way == WinogradTile::two ? ways.tiles_of_two : ways.tiles_of_four);
  }
  ways.direct =
      static_cast<int>(sites.convolutions().size()) - ways.tiles_of_two - ways.tiles_of_four;
  log().info("convolutions: {} direct, {} by tiles of two, {} of four, {:.0f} MB more", ways.direct,
             ways.tiles_of_two, ways.tiles_of_four,
             static_cast<double>(ways.extra_weight_bytes) / 1e6);
  return ways;
}

}  // namespace pcpp
