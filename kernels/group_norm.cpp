#include "kernels/group_norm.h"

#include <algorithm>
#include <bit>
#include <cmath>

// One clone of a loop for each vector width, chosen when the program is loaded. Sanitizers cannot
// run so early.
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && \
    !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define PCPP_VECTOR_CLONES \
  __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define PCPP_VECTOR_CLONES
#endif
#define PCPP_INLINE inline __attribute__((always_inline))

namespace pcpp {

namespace {

PCPP_INLINE float to_float(float value) { return value; }
PCPP_INLINE float to_float(Bfloat16 value) {
  return std::bit_cast<float>(static_cast<std::uint32_t>(value.bits) << 16);
}

PCPP_INLINE void store(float value, float* target) { *target = value; }
PCPP_INLINE void store(float value, Bfloat16* target) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  const std::uint32_t rounded = (bits + 0x7FFFU + ((bits >> 16) & 1U)) >> 16;
  target->bits = static_cast<std::uint16_t>(value != value ? 0x7FC0U : rounded);
}

// e^x for x in [-87, 87], to 1e-7 relative: 2^n * e^r with |r| <= ln(2) / 2, e^r by its Taylor
// polynomial. Without branches or calls, so that loops over it become vector code.
PCPP_INLINE float exponential(float x) {
  constexpr float kRound = 12582912.0F;  // 1.5 * 2^23: adding it leaves an integer in the low bits
  const float shifted = x * 1.44269504F + kRound;
  const float n = shifted - kRound;
  const float r = (x - n * 0.693359375F) + n * 2.12194440e-4F;  // ln(2) in two parts
  float p = 1.0F / 5040;
  p = p * r + 1.0F / 720;
  p = p * r + 1.0F / 120;
  p = p * r + 1.0F / 24;
  p = p * r + 1.0F / 6;
  p = p * r + 0.5F;
  p = p * r + 1.0F;
  p = p * r + 1.0F;
  const std::uint32_t exponent = (std::bit_cast<std::uint32_t>(shifted) << 23) + (127U << 23);
  return p * std::bit_cast<float>(exponent);
}

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
PCPP_INLINE void sums_of(const T* input, std::int64_t pixels, std::int64_t channels,
                         std::int64_t groups, double* sums) {
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
      sums[2 * group] += first[c];
      sums[2 * group + 1] += second[c];
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

PCPP_VECTOR_CLONES void group_sums(const float* input, std::int64_t pixels, std::int64_t channels,
                                   std::int64_t groups, double* sums) {
  sums_of(input, pixels, channels, groups, sums);
}

PCPP_VECTOR_CLONES void group_sums(const Bfloat16* input, std::int64_t pixels,
                                   std::int64_t channels, std::int64_t groups, double* sums) {
  sums_of(input, pixels, channels, groups, sums);
}

void group_norm_coefficients(const double* moments, const float* weight, const float* bias,
                             std::int64_t channels, std::int64_t groups, double epsilon,
                             float* centre, float* scale, float* shift) {
  const std::int64_t group_channels = channels / groups;
  for (std::int64_t c = 0; c < channels; ++c) {
    const double mean = moments[2 * (c / group_channels)];
    const double square = moments[2 * (c / group_channels) + 1];
    const double variance = std::max(square - mean * mean, 0.0);
    const double factor = static_cast<double>(weight[c]) / std::sqrt(variance + epsilon);
    centre[c] = static_cast<float>(mean);
    scale[c] = static_cast<float>(factor);
    shift[c] = static_cast<float>(bias[c] - (mean - static_cast<double>(centre[c])) * factor);
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
