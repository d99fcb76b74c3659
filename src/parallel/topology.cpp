#include "parallel/topology.h"

#include <algorithm>

#include "base/check.h"

namespace pcpp {

RowRange intersect(RowRange a, RowRange b) {
  const std::int64_t begin = std::max(a.begin, b.begin);
  return {begin, std::max(begin, std::min(a.end, b.end))};
}

std::int64_t rows_at_level(std::int64_t rows, int level) {
  if (level < 0) return rows << -level;
  const std::int64_t unit = std::int64_t{1} << level;
  return (rows + unit - 1) / unit;
}

RowRange band_at_level(RowRange band, int level) {
  return {rows_at_level(band.begin, level), rows_at_level(band.end, level)};
}

int most_patches(std::int64_t rows, std::int64_t unit) {
  return static_cast<int>((rows + unit - 1) / unit);
}

std::vector<RowRange> split_rows(std::int64_t rows, std::int64_t unit, int patches) {
  check<ConfigError>(rows > 0 && unit > 0, "cannot split {} latent rows in units of {}", rows,
                     unit);
  check<ConfigError>(patches > 0, "{} patches: at least one is needed", patches);
  const int units = most_patches(rows, unit);
  check<ConfigError>(patches <= units,
                     "{} patches are more than the {} that an image of {} latent rows can be cut "
                     "into (each needs {} rows): use fewer ranks or a taller image",
                     patches, units, rows, unit);
  std::vector<RowRange> bands;
  std::int64_t begin = 0;
  for (int patch = 0; patch < patches; ++patch) {
    const std::int64_t share = units / patches + (patch < units % patches ? 1 : 0);
    const std::int64_t end = std::min(rows, begin + share * unit);
    bands.push_back({begin, end});
    begin = end;
  }
  return bands;
}

std::vector<RowRange> bands_of_heights(const std::vector<int>& heights, std::int64_t rows,
                                       std::int64_t unit, int patches) {
  check<ConfigError>(static_cast<int>(heights.size()) == patches,
                     "{} bands for {} patches: give one height for each, or none", heights.size(),
                     patches);
  std::vector<RowRange> bands;
  std::int64_t begin = 0;
  for (std::size_t i = 0; i < heights.size(); ++i) {
    const int height = heights[i];
    const bool last = i + 1 == heights.size();
    check<ConfigError>(height > 0 && (last || height % unit == 0),
                       "a band of {} rows: every band but the last is a positive multiple of {} "
                       "latent rows, so that each level of the U-Net halves it",
                       height, unit);
    bands.push_back({begin, begin + height});
    begin += height;
  }
  check<ConfigError>(begin == rows,
                     "bands of {} rows together: the image has {} latent rows, so change a band by "
                     "{}",
                     begin, rows, rows - begin);
  return bands;
}

Topology::Topology(int world_size, Guidance guidance, int branches, std::int64_t latent_rows,
                   std::int64_t unit, const std::vector<int>& bands)
    : world_size_(world_size), branches_of_rank_(branches) {
  check<ConfigError>(world_size > 0, "{} ranks: at least one is needed", world_size);
  int patches = world_size;
  if (guidance == Guidance::split) {
    check<ConfigError>(
        branches == 2,
        "guidance cannot be split: the request has no unconditional branch "
        "(guidance scale 1 or below, or a U-Net that is told the scale); use batched "
        "guidance");
    check<ConfigError>(
        world_size % 2 == 0,
        "guidance split needs an even number of ranks, got {}: use {}, or batched guidance",
        world_size, world_size == 1 ? "two" : "one rank more or fewer");
    patches = world_size / 2;
    branches_of_rank_ = 1;
  }
  bands_ = bands.empty() ? split_rows(latent_rows, unit, patches)
                         : bands_of_heights(bands, latent_rows, unit, patches);
}

}  // namespace pcpp
