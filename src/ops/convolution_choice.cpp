#include "ops/convolution_choice.h"

#include <algorithm>
#include <array>
#include <optional>
#include <vector>

#include "base/log.h"
#include "ops/conv2d.h"
#include "parallel/topology.h"

namespace pcpp {

namespace {

// A way to compute a convolution: by definition, or by tiles.
using Way = std::optional<WinogradTile>;
constexpr std::array<Way, 3> kWays = {std::nullopt, WinogradTile::two, WinogradTile::four};

std::int64_t divide_up(std::int64_t value, std::int64_t by) { return (value + by - 1) / by; }

struct Candidate {
  Kernel3x3* kernel = nullptr;
  ImageShape shape;  // of its input
  Way way;

  double weights() const { return static_cast<double>(kernel->in() * kernel->out()); }

  std::int64_t bytes(const Way& by) const {
    return by ? WinogradConvolution::weight_bytes(kernel->in(), kernel->out(), *by)
              : 9 * 4 * kernel->in() * kernel->out();
  }

  // In multiplications by definition. Weights stream from memory, and tiles pay for their
  // transforms. Fitted to an AVX-512 core, from 8 to 64 columns and 320 to 2560 channels.
  double cost(const Way& by) const {
    constexpr double kPerByte = 6;
    constexpr double kTiles = 1.25;
    const double streamed = kPerByte * static_cast<double>(bytes(by));
    if (!by) {
      return 9 * weights() * static_cast<double>(shape.batch * shape.rows * shape.columns) +
             streamed;
    }
    const std::int64_t size = *by == WinogradTile::two ? 2 : 4;
    const std::int64_t tiles =
        shape.batch * divide_up(shape.rows, size) * divide_up(shape.columns, size);
    const auto positions = static_cast<double>((size + 2) * (size + 2));
    return kTiles * positions * weights() * static_cast<double>(tiles) + streamed;
  }
};

// Channels below which a tile's transforms cost more than its products save.
constexpr std::int64_t kLeastChannels = 32;

std::vector<Candidate> candidates(const SiteRegistry& sites, const ImageShape& shape) {
  std::vector<Candidate> result;
  for (const PlacedConvolution& placed : sites.convolutions()) {
    const Kernel3x3& kernel = *placed.kernel;
    if (!kernel.fits_winograd() || std::min(kernel.in(), kernel.out()) < kLeastChannels) continue;
    result.push_back({placed.kernel.get(),
                      {shape.batch, rows_at_level(shape.rows, placed.level),
                       rows_at_level(shape.columns, placed.level)},
                      std::nullopt});
  }
  return result;
}

struct Step {
  Candidate* candidate = nullptr;
  Way way;
  std::int64_t bytes = 0;
  double gain = 0;  // for each byte
};

// The best next step that takes no more than `most_bytes`.
Step best_step(std::vector<Candidate>& all, std::int64_t most_bytes) {
  Step best;
  for (Candidate& candidate : all) {
    for (const Way& way : kWays) {
      const std::int64_t bytes = candidate.bytes(way) - candidate.bytes(candidate.way);
      if (bytes <= 0 || bytes > most_bytes) continue;
      const double gain =
          (candidate.cost(candidate.way) - candidate.cost(way)) / static_cast<double>(bytes);
      if (gain > best.gain) best = {&candidate, way, bytes, gain};
    }
  }
  return best;
}

}  // namespace

std::int64_t choose_convolutions(const SiteRegistry& sites, const ImageShape& shape,
                                 std::int64_t most_bytes) {
  std::vector<Candidate> all = candidates(sites, shape);
  std::int64_t taken = 0;
  for (Step step = best_step(all, most_bytes); step.candidate != nullptr;
       step = best_step(all, most_bytes - taken)) {
    step.candidate->way = step.way;
    taken += step.bytes;
  }
  std::array<int, kWays.size()> counts = {};
  for (const Candidate& candidate : all) {
    if (candidate.way) candidate.kernel->use_winograd(*candidate.way);
    ++counts[static_cast<std::size_t>(std::find(kWays.begin(), kWays.end(), candidate.way) -
                                      kWays.begin())];
  }
  log().info(
      "of {} convolutions {} compute by tiles of two and {} by tiles of four: {:.0f} MB more",
      sites.convolutions().size(), counts[1], counts[2], static_cast<double>(taken) / 1e6);
  return taken;
}

}  // namespace pcpp
