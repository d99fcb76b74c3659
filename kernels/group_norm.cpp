#include "kernels/group_norm.h"

#include <algorithm>
#include <cmath>

#include "kernels/vector_loop.h"

namespace pcpp {

namespace {

PCPP_INLINE float silu_of(float y) {
  // Beyond 87 the result is y or, below 1e-36, zero for every purpose; a NaN passes.
  float x = y > 87.0F ? 87.0F : y;
  x = x < -87.0F ? -87.0F : x;
  return y / (1.0F + exponential(-x));
}

// Channels of a tile: their two sums stay in the first-level cache.
constexpr std::int64_t kTile = 512;

template <typename T>
PCPP_INLINE void add_tile(const T* input, std::int64_t pixels, std::int64_t channels,
                          std::int64_t width, double* first, double* second) {
  std::int64_t pixel = 0;
  for (; pixel + 4 <= pixels; pixel += 4) {
    const T* row = input + pixel * channels;
    for (std::int64_t c = 0; c < width; ++c) {
      const double x0 = to_float(row[c]);
      const double x1 = to_float(row[c + channels]);
      const double x2 = to_float(row[c + 2 * channels]);
      const double x3 = to_float(row[c + 3 * channels]);
      first[c] += (x0 + x1) + (x2 + x3);
      second[c] += (x0 * x0 + x1 * x1) + (x2 * x2 + x3 * x3);
    }
  }
  for (; pixel < pixels; ++pixel) {
    const T* row = input + pixel * channels;
    for (std::int64_t c = 0; c < width; ++c) {
      const double x = to_float(row[c]);
      first[c] += x;
      second[c] += x * x;
    }
  }
}

template <typename T>
PCPP_INLINE void sums_of(const T* input, const float* offset, std::int64_t pixels,
                         std::int64_t channels, std::int64_t groups, double* sums) {
  const std::int64_t group_channels = channels / groups;
  std::fill(sums, sums + 2 * groups, 0.0);
  for (std::int64_t begin = 0; begin < channels; begin += kTile) {
    const std::int64_t width = std::min(kTile, channels - begin);
    double first[kTile];
    double second[kTile];
    std::fill(first, first + width, 0.0);
    std::fill(second, second + width, 0.0);
    add_tile(input + begin, pixels, channels, width, first, second);
    for (std::int64_t c = 0; c < width; ++c) {
      const std::int64_t group = (begin + c) / group_channels;
      const double added = offset == nullptr ? 0.0 : double{offset[begin + c]};
      const double all_added = static_cast<double>(pixels) * added;
      sums[2 * group] += first[c] + all_added;
      sums[2 * group + 1] += second[c] + added * (2 * first[c] + all_added);
    }
  }
}

template <typename T>
PCPP_INLINE void apply_to(const T* input, T* output, std::int64_t pixels, std::int64_t channels,
                          const ChannelCoefficients& coefficients, bool silu) {
  const float* centre = coefficients.centre;
  const float* scale = coefficients.scale;
  const float* shift = coefficients.shift;
  for (std::int64_t pixel = 0; pixel < pixels; ++pixel) {
    const T* source = input + pixel * channels;
    T* target = output + pixel * channels;
    if (silu) {
      for (std::int64_t c = 0; c < channels; ++c) {
        store(silu_of((to_float(source[c]) - centre[c]) * scale[c] + shift[c]), target + c);
      }
    } else {
      for (std::int64_t c = 0; c < channels; ++c) {
        store((to_float(source[c]) - centre[c]) * scale[c] + shift[c], target + c);
      }
    }
  }
}

}  // namespace

PCPP_VECTOR_CLONES void group_sums(const float* input, const float* offset, std::int64_t pixels,
                                   std::int64_t channels, std::int64_t groups, double* sums) {
  sums_of(input, offset, pixels, channels, groups, sums);
}

PCPP_VECTOR_CLONES void group_sums(const Bfloat16* input, const float* offset, std::int64_t pixels,
                                   std::int64_t channels, std::int64_t groups, double* sums) {
  sums_of(input, offset, pixels, channels, groups, sums);
}

void group_norm_coefficients(const double* moments, const float* offset, const float* weight,
                             const float* bias, std::int64_t channels, std::int64_t groups,
                             double epsilon, float* centre, float* scale, float* shift) {
  const std::int64_t group_channels = channels / groups;
  for (std::int64_t c = 0; c < channels; ++c) {
    const double mean = moments[2 * (c / group_channels)];
    const double square = moments[2 * (c / group_channels) + 1];
    const double variance = std::max(square - mean * mean, 0.0);
    const double factor = static_cast<double>(weight[c]) / std::sqrt(variance + epsilon);
    const double middle = offset == nullptr ? mean : mean - double{offset[c]};
    centre[c] = static_cast<float>(middle);
    scale[c] = static_cast<float>(factor);
    shift[c] = static_cast<float>(bias[c] - (middle - static_cast<double>(centre[c])) * factor);
  }
}

PCPP_VECTOR_CLONES void group_norm_apply(const float* input, float* output, std::int64_t pixels,
                                         std::int64_t channels,
                                         const ChannelCoefficients& coefficients, bool silu) {
  apply_to(input, output, pixels, channels, coefficients, silu);
}

PCPP_VECTOR_CLONES void group_norm_apply(const Bfloat16* input, Bfloat16* output,
                                         std::int64_t pixels, std::int64_t channels,
                                         const ChannelCoefficients& coefficients, bool silu) {
  apply_to(input, output, pixels, channels, coefficients, silu);
}

}  // namespace pcpp
