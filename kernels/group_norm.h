// GroupNorm over channels-last data [pixels, channels], in two passes: sums, then normalisation.
#ifndef PCPP_KERNELS_GROUP_NORM_H_
#define PCPP_KERNELS_GROUP_NORM_H_

#include <cstdint>

#include "kernels/bfloat16.h"

namespace pcpp {

// The pixels that one call of group_sums is meant for. A caller that cuts an image at multiples of
// it and adds the sums in order gets the same bits with any number of threads.
inline constexpr std::int64_t kSumPixels = 128;

// sums[2 g] and sums[2 g + 1] become the sum and the sum of squares of group g's elements in
// `pixels` pixels, in float64 throughout: exact to about pixels * 1e-16, whatever the mean.
// `channels` is a multiple of `groups`; any `pixels` >= 0.
void group_sums(const float* input, std::int64_t pixels, std::int64_t channels, std::int64_t groups,
                double* sums);
void group_sums(const Bfloat16* input, std::int64_t pixels, std::int64_t channels,
                std::int64_t groups, double* sums);

// What one item of the batch is normalised with, an element for each channel:
// y = (x - centre) * scale + shift. The centre is the mean rounded to float32 and the shift takes
// up what the rounding left, so that no digits are lost where the mean is large.
struct ChannelCoefficients {
  const float* centre = nullptr;
  const float* scale = nullptr;
  const float* shift = nullptr;
};

// Fills `centre`, `scale` and `shift` [channels] for normalisation with `moments` [groups, 2] (mean
// and mean of squares) and the affine `weight` and `bias` [channels]:
// y = (x - mean) / sqrt(variance + epsilon) * weight + bias, variance = mean of squares - mean^2,
// taken as zero where rounding makes it negative.
void group_norm_coefficients(const double* moments, const float* weight, const float* bias,
                             std::int64_t channels, std::int64_t groups, double epsilon,
                             float* centre, float* scale, float* shift);

// Normalises `pixels` pixels; with `silu` the result is y / (1 + exp(-y)), to 3e-7 relative in
// float32. `output` may be `input`.
void group_norm_apply(const float* input, float* output, std::int64_t pixels, std::int64_t channels,
                      const ChannelCoefficients& coefficients, bool silu);
void group_norm_apply(const Bfloat16* input, Bfloat16* output, std::int64_t pixels,
                      std::int64_t channels, const ChannelCoefficients& coefficients, bool silu);

}  // namespace pcpp

#endif  // PCPP_KERNELS_GROUP_NORM_H_
