#include "kernels/encode_rows.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>

namespace pcpp {

namespace {

constexpr std::size_t kScaleBytes = sizeof(float);

float to_float(float value) { return value; }
float to_float(Bfloat16 value) {
  return std::bit_cast<float>(static_cast<std::uint32_t>(value.bits) << 16);
}

void from_float(float value, float& result) { result = value; }
void from_float(float value, Bfloat16& result) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  const std::uint32_t rounded = bits + 0x7FFF + ((bits >> 16) & 1);  // to nearest, ties to even
  result.bits = static_cast<std::uint16_t>((std::isnan(value) ? bits | 0x400000 : rounded) >> 16);
}

// Writes and returns the scale of a block, whose largest magnitude becomes `levels`; returns 0
// where all values are to be encoded as 0: they are, or one of them is not finite.
template <typename ValueAt>
float write_scale(std::byte* encoded, std::int64_t count, float levels, const ValueAt& value_at) {
  float largest = 0;
  float poison = 0;  // not a number where a value is not finite
  for (std::int64_t i = 0; i < count; ++i) {
    const float value = value_at(i);
    largest = std::max(largest, std::abs(value));
    poison += value * 0;
  }
  const float scale = largest / levels + poison;
  std::memcpy(encoded, &scale, kScaleBytes);
  return scale > std::numeric_limits<float>::min() ? scale : 0;
}

float read_scale(const std::byte* encoded) {
  float scale = 0;
  std::memcpy(&scale, encoded, kScaleBytes);
  return scale;
}

struct EightBits {
  static std::int64_t bytes(std::int64_t values) { return values; }

  template <typename Element>
  static void encode(std::byte* encoded, const Element* values, std::int64_t count) {
    const auto value_at = [&](std::int64_t i) { return to_float(values[i]); };
    const float scale = write_scale(encoded, count, 127, value_at);
    auto* bytes = reinterpret_cast<std::int8_t*>(encoded + kScaleBytes);
    for (std::int64_t i = 0; i < count; ++i) {
      bytes[i] = scale == 0 ? 0 : static_cast<std::int8_t>(std::nearbyint(value_at(i) / scale));
    }
  }

  template <typename Element>
  static void decode(Element* values, const std::byte* encoded, std::int64_t count) {
    const float scale = read_scale(encoded);
    const auto* bytes = reinterpret_cast<const std::int8_t*>(encoded + kScaleBytes);
    for (std::int64_t i = 0; i < count; ++i) {
      from_float(static_cast<float>(bytes[i]) * scale, values[i]);
    }
  }
};

struct FourBits {
  static std::int64_t bytes(std::int64_t values) { return (values + 1) / 2; }

  template <typename Element>
  static void encode(std::byte* encoded, Element* last, const Element* values, std::int64_t count) {
    const auto residual_at = [&](std::int64_t i) {
      return to_float(values[i]) - to_float(last[i]);
    };
    const float scale = write_scale(encoded, count, 7, residual_at);
    const auto level_at = [&](std::int64_t i) {
      if (scale == 0 || i >= count) return 0;
      return static_cast<int>(std::nearbyint(residual_at(i) / scale));
    };
    const std::int64_t half = bytes(count);
    for (std::int64_t i = 0; i < half; ++i) {
      encoded[kScaleBytes + static_cast<std::size_t>(i)] =
          static_cast<std::byte>((level_at(i) & 0xF) | (level_at(i + half) & 0xF) << 4);
    }
    add(last, encoded, count);
  }

  template <typename Element>
  static void add(Element* last, const std::byte* encoded, std::int64_t count) {
    const float scale = read_scale(encoded);
    const auto* pairs = reinterpret_cast<const std::int8_t*>(encoded + kScaleBytes);
    const auto add_level = [&](std::int64_t i, int level) {
      from_float(to_float(last[i]) + static_cast<float>(level) * scale, last[i]);
    };
    const std::int64_t half = bytes(count);
    for (std::int64_t i = 0; i < half; ++i) {
      add_level(i, static_cast<std::int8_t>(pairs[i] << 4) >> 4);
      if (i + half < count) add_level(i + half, pairs[i] >> 4);
    }
  }
};

// A number of 11 digits times a power of two, at least 2^-24.
Float16 to_half(double value) {
  const std::uint16_t sign = std::signbit(value) ? 0x8000 : 0;
  const double magnitude = std::abs(value);
  if (std::isnan(value)) return {0x7E00};
  if (magnitude >= 65520) return {static_cast<std::uint16_t>(sign | 0x7C00)};
  const int exponent = magnitude < 0x1p-14 ? -14 : std::ilogb(magnitude);
  const auto digits = static_cast<int>(std::nearbyint(std::ldexp(magnitude, 10 - exponent)));
  // Digits from 1024 on, and those that round up to 2048, carry into the exponent.
  return {static_cast<std::uint16_t>(sign | (((exponent + 14) << 10) + digits))};
}

double from_half(Float16 half) {
  const int exponent = (half.bits >> 10) & 0x1F;
  const int fraction = half.bits & 0x3FF;
  double magnitude =
      std::ldexp(exponent == 0 ? fraction : fraction + 1024, std::max(exponent, 1) - 25);
  if (exponent == 0x1F) {
    magnitude = fraction == 0 ? std::numeric_limits<double>::infinity()
                              : std::numeric_limits<double>::quiet_NaN();
  }
  return (half.bits & 0x8000) != 0 ? -magnitude : magnitude;
}

template <typename Bits>
std::int64_t bytes_of_row(std::int64_t values) {
  const std::int64_t blocks = (values + kEncodedBlock - 1) / kEncodedBlock;
  return values / kEncodedBlock * Bits::bytes(kEncodedBlock) + Bits::bytes(values % kEncodedBlock) +
         blocks * static_cast<std::int64_t>(kScaleBytes);
}

// Calls function(first value of a block, its first encoded byte, its values) for every block.
template <typename Bits, typename Function>
void for_each_block(std::int64_t count, std::int64_t values, const Function& function) {
  std::int64_t byte = 0;
  for (std::int64_t row = 0; row < count; ++row) {
    for (std::int64_t first = 0; first < values; first += kEncodedBlock) {
      const std::int64_t size = std::min(kEncodedBlock, values - first);
      function(row * values + first, byte, size);
      byte += bytes_of_row<Bits>(size);
    }
  }
}

template <typename Element>
void encode(std::byte* encoded, const Element* rows, std::int64_t count, std::int64_t values) {
  for_each_block<EightBits>(count, values,
                            [&](std::int64_t value, std::int64_t byte, std::int64_t size) {
                              EightBits::encode(encoded + byte, rows + value, size);
                            });
}

template <typename Element>
void decode(Element* rows, const std::byte* encoded, std::int64_t count, std::int64_t values) {
  for_each_block<EightBits>(count, values,
                            [&](std::int64_t value, std::int64_t byte, std::int64_t size) {
                              EightBits::decode(rows + value, encoded + byte, size);
                            });
}

template <typename Element>
void encode_residuals(std::byte* encoded, Element* last, const Element* rows, std::int64_t count,
                      std::int64_t values) {
  for_each_block<FourBits>(count, values,
                           [&](std::int64_t value, std::int64_t byte, std::int64_t size) {
                             FourBits::encode(encoded + byte, last + value, rows + value, size);
                           });
}

template <typename Element>
void add_residuals(Element* last, const std::byte* encoded, std::int64_t count,
                   std::int64_t values) {
  for_each_block<FourBits>(count, values,
                           [&](std::int64_t value, std::int64_t byte, std::int64_t size) {
                             FourBits::add(last + value, encoded + byte, size);
                           });
}

}  // namespace

std::int64_t encoded_bytes(std::int64_t values) { return bytes_of_row<EightBits>(values); }

std::int64_t residual_bytes(std::int64_t values) { return bytes_of_row<FourBits>(values); }

void encode_rows(std::byte* encoded, const float* rows, std::int64_t count, std::int64_t values) {
  encode(encoded, rows, count, values);
}

void encode_rows(std::byte* encoded, const Bfloat16* rows, std::int64_t count,
                 std::int64_t values) {
  encode(encoded, rows, count, values);
}

void decode_rows(float* rows, const std::byte* encoded, std::int64_t count, std::int64_t values) {
  decode(rows, encoded, count, values);
}

void decode_rows(Bfloat16* rows, const std::byte* encoded, std::int64_t count,
                 std::int64_t values) {
  decode(rows, encoded, count, values);
}

void encode_residual(std::byte* encoded, float* last, const float* rows, std::int64_t count,
                     std::int64_t values) {
  encode_residuals(encoded, last, rows, count, values);
}

void encode_residual(std::byte* encoded, Bfloat16* last, const Bfloat16* rows, std::int64_t count,
                     std::int64_t values) {
  encode_residuals(encoded, last, rows, count, values);
}

void add_residual(float* last, const std::byte* encoded, std::int64_t count, std::int64_t values) {
  add_residuals(last, encoded, count, values);
}

void add_residual(Bfloat16* last, const std::byte* encoded, std::int64_t count,
                  std::int64_t values) {
  add_residuals(last, encoded, count, values);
}

void encode_moments(std::byte* encoded, const double* moments, std::int64_t count) {
  for (std::int64_t i = 0; i < count; ++i) {
    const double mean = moments[2 * i];
    const double variance = moments[2 * i + 1] - mean * mean;
    const std::array<Float16, 2> pair = {to_half(mean),
                                         to_half(std::sqrt(std::max(variance, 0.0)))};
    std::memcpy(encoded + i * kEncodedMomentsBytes, pair.data(), kEncodedMomentsBytes);
  }
}

void decode_moments(double* moments, const std::byte* encoded, std::int64_t count) {
  for (std::int64_t i = 0; i < count; ++i) {
    std::array<Float16, 2> pair;
    std::memcpy(pair.data(), encoded + i * kEncodedMomentsBytes, kEncodedMomentsBytes);
    const double mean = from_half(pair[0]);
    const double deviation = from_half(pair[1]);
    moments[2 * i] = mean;
    moments[2 * i + 1] = mean * mean + deviation * deviation;
  }
}

}  // namespace pcpp
