// GroupNorm's moments of an image out of those of its bands, of different ages. On the CPU, and on
// a GPU (the function with a stream, which PCPP_CUDA builds).
#ifndef PCPP_KERNELS_MOMENTS_H_
#define PCPP_KERNELS_MOMENTS_H_

#include <cstdint>

struct CUstream_st;  // what a cudaStream_t points to

namespace pcpp {

// Moments are a float64 pair for each group, mean and mean of squares: [batch, groups, 2].

// Those of another band that can be read.
struct BandMoments {
  const double* moments = nullptr;  // [groups, 2] of the batch's first item
  std::int64_t item_stride = 0;     // from one item's to the next's, in float64 values
  double rows = 0;                  // the band's, its weight in a mean
};

struct OwnMoments {
  const double* fresh = nullptr;  // [batch, groups, 2]
  // Those of the step that the others' are from, laid out alike; null where they are not kept.
  const double* stale = nullptr;
  double rows = 0;
};

// How far below its bound a corrected variance may fall, as a part of that, before it is taken for
// an artefact of the others' age.
inline constexpr double kVarianceBound = 0.5;

// The most other bands that a GPU combines in one call.
inline constexpr int kMostOtherBands = 127;

// result [batch, groups, 2] becomes, from `own` and `count` others in the order of the image:
//  - where own.stale is null, the mean over all these bands, weighted by their rows;
//  - else own fresh + (that mean with own stale in place of own fresh - own stale) (DistriFusion,
//    section 4).
// The true variance of an image is never below (own rows / all rows) * own variance, by the law of
// total variance. A corrected one below kVarianceBound of that is replaced by own fresh variance,
// while the mean stays corrected. `all_rows` are the image's, whether or not all of its bands are
// read.
void combine_moments(const OwnMoments& own, const BandMoments* others, int count, double all_rows,
                     std::int64_t batch, std::int64_t groups, double* result);

// The same, queued on `stream`, to rounding; `others` itself is read before the call returns, all
// that it points to is in device memory. Throws DeviceError where the kernel cannot be launched or
// `count` is above kMostOtherBands.
void combine_moments(const OwnMoments& own, const BandMoments* others, int count, double all_rows,
                     std::int64_t batch, std::int64_t groups, double* result, CUstream_st* stream);

}  // namespace pcpp

#endif  // PCPP_KERNELS_MOMENTS_H_
