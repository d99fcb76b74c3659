#include "kernels/device.h"
#include "kernels/moments.h"

namespace pcpp {

namespace {

// By value, as a kernel's argument.
struct Others {
  BandMoments bands[kMostOtherBands];
  int count;
};

// One thread for each group of each item.
__global__ void __launch_bounds__(kThreads) combine(OwnMoments own, Others others, double own_share,
                                                    int batch, int groups, double* result) {
  const int index = static_cast<int>(blockIdx.x * kThreads + threadIdx.x);
  if (index >= batch * groups) return;
  const double* from = own.stale == nullptr ? own.fresh : own.stale;
  double mean = from[2 * index] * own.rows;
  double square = from[2 * index + 1] * own.rows;
  double rows = own.rows;
  for (int i = 0; i < others.count; ++i) {
    const BandMoments& band = others.bands[i];
    const double* moments = band.moments + index / groups * band.item_stride + index % groups * 2;
    mean += moments[0] * band.rows;
    square += moments[1] * band.rows;
    rows += band.rows;
  }
  mean /= rows;
  square /= rows;
  if (own.stale != nullptr) {
    const double fresh_mean = own.fresh[2 * index];
    const double fresh_square = own.fresh[2 * index + 1];
    mean = fresh_mean + (mean - own.stale[2 * index]);
    square = fresh_square + (square - own.stale[2 * index + 1]);
    const double own_variance = fresh_square - fresh_mean * fresh_mean;
    if (square - mean * mean < kVarianceBound * own_share * own_variance) {
      square = mean * mean + own_variance;
    }
  }
  result[2 * index] = mean;
  result[2 * index + 1] = square;
}

}  // namespace

void combine_moments(const OwnMoments& own, const BandMoments* others, int count, double all_rows,
                     std::int64_t batch, std::int64_t groups, double* result, CUstream_st* stream) {
  if (count > kMostOtherBands) {
    throw DeviceError("a GPU combines the moments of at most " +
                      std::to_string(kMostOtherBands + 1) + " bands, and there are " +
                      std::to_string(count + 1) + ": use fewer ranks");
  }
  Others by_value{};
  std::copy(others, others + count, by_value.bands);
  by_value.count = count;
  launch("combine_moments", combine,
         dim3(static_cast<unsigned>(divide_up(batch * groups, kThreads))), stream, own, by_value,
         own.rows / all_rows, static_cast<int>(batch), static_cast<int>(groups), result);
}

}  // namespace pcpp
