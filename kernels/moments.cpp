#include "kernels/moments.h"

namespace pcpp {

void combine_moments(const OwnMoments& own, const BandMoments* others, int count, double all_rows,
                     std::int64_t batch, std::int64_t groups, double* result) {
  const std::int64_t item_values = 2 * groups;
  // The mean over the bands of one value, with `mine` in the own band's place.
  const auto mean_with = [&](double mine, std::int64_t index) {
    double sum = mine * own.rows;
    double rows = own.rows;
    for (const BandMoments* band = others; band != others + count; ++band) {
      sum +=
          band->moments[index / item_values * band->item_stride + index % item_values] * band->rows;
      rows += band->rows;
    }
    return sum / rows;
  };
  const auto combined = [&](std::int64_t index) {
    const double fresh = own.fresh[index];
    if (own.stale == nullptr) return mean_with(fresh, index);
    return fresh + (mean_with(own.stale[index], index) - own.stale[index]);
  };
  for (std::int64_t i = 0; i < batch * item_values; i += 2) {
    const double mean = combined(i);
    double square = combined(i + 1);
    if (own.stale != nullptr) {
      const double own_variance = own.fresh[i + 1] - own.fresh[i] * own.fresh[i];
      const double bound = kVarianceBound * (own.rows / all_rows) * own_variance;
      if (square - mean * mean < bound) square = mean * mean + own_variance;
    }
    result[i] = mean;
    result[i + 1] = square;
  }
}

}  // namespace pcpp
