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
constexpr float kLevels = 127;

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

template <typename Element>
void encode_block(std::byte* encoded, const Element* values, std::int64_t count) {
  float largest = 0;
  float poison = 0;  // not a number where a value is not finite
  for (std::int64_t i = 0; i < count; ++i) {
    const float value = to_float(values[i]);
    largest = std::max(largest, std::abs(value));
    poison += value * 0;
  }
  const float scale = largest / kLevels + poison;
  std::memcpy(encoded, &scale, kScaleBytes);
  auto* bytes = reinterpret_cast<std::int8_t*>(encoded + kScaleBytes);
  if (!(scale > std::numeric_limits<float>::min())) {  // zeros, or not finite
    std::memset(bytes, 0, static_cast<std::size_t>(count));
    return;
  }
  for (std::int64_t i = 0; i < count; ++i) {
    bytes[i] = static_cast<std::int8_t>(std::nearbyint(to_float(values[i]) / scale));
  }
}

template <typename Element>
void decode_block(Element* values, const std::byte* encoded, std::int64_t count) {
  float scale = 0;
  std::memcpy(&scale, encoded, kScaleBytes);
  const auto* bytes = reinterpret_cast<const std::int8_t*>(encoded + kScaleBytes);
  for (std::int64_t i = 0; i < count; ++i) {
    from_float(static_cast<float>(bytes[i]) * scale, values[i]);
  }
}

// Calls function(first value of a block, its first encoded byte, its values) for every block.
template <typename Function>
void for_each_block(std::int64_t count, std::int64_t values, const Function& function) {
  std::int64_t byte = 0;
  for (std::int64_t row = 0; row < count; ++row) {
    for (std::int64_t first = 0; first < values; first += kEncodedBlock) {
      const std::int64_t size = std::min(kEncodedBlock, values - first);
      function(row * values + first, byte, size);
      byte += encoded_bytes(size);
    }
  }
}

template <typename Element>
void encode(std::byte* encoded, const Element* rows, std::int64_t count, std::int64_t values) {
  for_each_block(count, values, [&](std::int64_t value, std::int64_t byte, std::int64_t size) {
    encode_block(encoded + byte, rows + value, size);
  });
}

template <typename Element>
void decode(Element* rows, const std::byte* encoded, std::int64_t count, std::int64_t values) {
  for_each_block(count, values, [&](std::int64_t value, std::int64_t byte, std::int64_t size) {
    decode_block(rows + value, encoded + byte, size);
  });
}

}  // namespace

std::int64_t encoded_bytes(std::int64_t values) {
  const std::int64_t blocks = (values + kEncodedBlock - 1) / kEncodedBlock;
  return values + blocks * static_cast<std::int64_t>(kScaleBytes);
}

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

void encode_moments(std::byte* encoded, const double* moments, std::int64_t count) {
  for (std::int64_t i = 0; i < count; ++i) {
    const double mean = moments[2 * i];
    const std::array<float, 2> pair = {static_cast<float>(mean),
                                       static_cast<float>(moments[2 * i + 1] - mean * mean)};
    std::memcpy(encoded + i * kEncodedMomentsBytes, pair.data(), kEncodedMomentsBytes);
  }
}

void decode_moments(double* moments, const std::byte* encoded, std::int64_t count) {
  for (std::int64_t i = 0; i < count; ++i) {
    std::array<float, 2> pair{};
    std::memcpy(pair.data(), encoded + i * kEncodedMomentsBytes, kEncodedMomentsBytes);
    const double mean = pair[0];
    moments[2 * i] = mean;
    moments[2 * i + 1] = mean * mean + pair[1];
  }
}

}  // namespace pcpp
