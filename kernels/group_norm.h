// GroupNorm over channels-last data [pixels, channels], in two passes: sums, then normalisation. On
// the CPU, and for a batch on a GPU (the functions with a stream, which PCPP_CUDA builds).
#ifndef PCPP_KERNELS_GROUP_NORM_H_
#define PCPP_KERNELS_GROUP_NORM_H_

#include <cstddef>
#include <cstdint>

#include "kernels/bfloat16.h"
#include "kernels/float16.h"

struct CUstream_st;  // what a cudaStream_t points to

namespace pcpp {

// The pixels that one call of group_sums is meant for. A caller that cuts an image at multiples of
// it and adds the sums in order gets the same bits with any number of threads.
inline constexpr std::int64_t kSumPixels = 128;

// What is normalised is x = input + offset, with one `offset` [channels] for all pixels (null: no
// offset), so that whoever makes the input need not pass over it to add that.

// sums[2 g] and sums[2 g + 1] become the sum and the sum of squares of group g's elements in
// `pixels` pixels, in float64 throughout: exact to about pixels * 1e-16, whatever the mean.
// `channels` is a multiple of `groups`; any `pixels` >= 0.
void group_sums(const float* input, const float* offset, std::int64_t pixels, std::int64_t channels,
                std::int64_t groups, double* sums);
void group_sums(const Bfloat16* input, const float* offset, std::int64_t pixels,
                std::int64_t channels, std::int64_t groups, double* sums);

// What one item of the batch is normalised with, an element for each channel:
// y = (input - centre) * scale + shift. The centre is the mean less the offset, rounded to float32,
// and the shift takes up what the rounding left, so that no digits are lost where it is large.
struct ChannelCoefficients {
  const float* centre = nullptr;
  const float* scale = nullptr;
  const float* shift = nullptr;
};

// Fills `centre`, `scale` and `shift` [channels] for normalisation with `moments` [groups, 2] (mean
// and mean of squares of x) and the affine `weight` and `bias` [channels]:
// y = (x - mean) / sqrt(variance + epsilon) * weight + bias, variance = mean of squares - mean^2,
// taken as zero where rounding makes it negative.
void group_norm_coefficients(const double* moments, const float* offset, const float* weight,
                             const float* bias, std::int64_t channels, std::int64_t groups,
                             double epsilon, float* centre, float* scale, float* shift);

// Normalises `pixels` pixels; with `silu` the result is y / (1 + exp(-y)), to 3e-7 relative in
// float32. `output` may be `input`.
void group_norm_apply(const float* input, float* output, std::int64_t pixels, std::int64_t channels,
                      const ChannelCoefficients& coefficients, bool silu);
void group_norm_apply(const Bfloat16* input, Bfloat16* output, std::int64_t pixels,
                      std::int64_t channels, const ChannelCoefficients& coefficients, bool silu);

// On a GPU: T is float, Float16 or Bfloat16, pointers are to device memory, and the work is queued
// on `stream`, which is of the current device. Where the rows of `channels` elements can be moved
// 16 bytes at a time (pointers and rows at multiples of 16 bytes) they are, else by the element.
// Throws DeviceError where a kernel cannot be launched.

// The device memory that group_moments needs for its own use, at least 16 bytes aligned.
std::size_t group_moments_workspace_bytes(std::int64_t batch, std::int64_t pixels,
                                          std::int64_t channels, std::int64_t groups);

// The offset of each item of a batch.
template <typename T>
struct Offset {
  const T* values = nullptr;  // [channels] of the first item; null: there is none
  std::int64_t stride = 0;    // elements from an item's to the next one's; 0: all have the same
};

// moments [batch, groups, 2] become each group's mean and mean of squares over the `pixels` >= 1
// pixels of an item of `input` [batch, pixels, channels]. Sums are of differences from an element
// of the same channel, some dozens at a time in float32, and beyond that in float64: exact to about
// 1e-6 of the variance, whatever the mean. Always in the same order, so that the same input gives
// the same bits.
template <typename T>
void group_moments(const T* input, const Offset<T>& offset, std::int64_t batch, std::int64_t pixels,
                   std::int64_t channels, std::int64_t groups, std::byte* workspace,
                   double* moments, CUstream_st* stream);

// What a batch is normalised with, in device memory: y = (x - mean) / sqrt(variance + epsilon) *
// weight + bias as by group_norm_coefficients, then y / (1 + exp(-y)) with `silu`.
struct Normalisation {
  const double* moments = nullptr;  // [batch, groups, 2]
  const float* weight = nullptr;    // [channels]
  const float* bias = nullptr;      // [channels]
  std::int64_t groups = 0;
  double epsilon = 0;
  bool silu = false;
};

// Normalises `input` [batch, pixels, channels] into the middle of `output` [batch, padding_pixels +
// pixels + padding_pixels, channels], zeros around it. `output` overlaps nothing else.
template <typename T>
void group_norm_apply(const T* input, const Offset<T>& offset, T* output, std::int64_t batch,
                      std::int64_t pixels, std::int64_t channels,
                      const Normalisation& normalisation, std::int64_t padding_pixels,
                      CUstream_st* stream);

}  // namespace pcpp

#endif  // PCPP_KERNELS_GROUP_NORM_H_
