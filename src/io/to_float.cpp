#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>

#include "base/check.h"
#include "io/safetensors.h"

namespace pcpp {
namespace {

// IEEE 754 binary16: 1 sign bit, 5 exponent bits (bias 15), 10 fraction bits.
float half_to_float(std::uint16_t half) {
  const std::uint32_t sign = std::uint32_t{half & 0x8000U} << 16;
  const std::uint32_t exponent = (half >> 10) & 0x1FU;
  const std::uint32_t fraction = half & 0x3FFU;
  if (exponent == 0x1F) return std::bit_cast<float>(sign | 0x7F800000U | (fraction << 13));
  if (exponent == 0) {
    const float magnitude = static_cast<float>(fraction) * 0x1p-24F;
    return sign != 0 ? -magnitude : magnitude;
  }
  return std::bit_cast<float>(sign | ((exponent + 112) << 23) | (fraction << 13));
}

// arXiv 2209.05433, table 1: E5M2 is a half of fewer fraction bits, E4M3 (bias 7) has neither
// infinities nor more than one NaN of each sign.
float e5m2_to_float(std::uint8_t value) {
  return half_to_float(static_cast<std::uint16_t>(value << 8));
}

float e4m3_to_float(std::uint8_t value) {
  const int exponent = (value >> 3) & 0xF;
  const int fraction = value & 0x7;
  float magnitude = std::ldexp(static_cast<float>(exponent == 0 ? fraction : 8 + fraction),
                               std::max(exponent, 1) - 10);
  if ((value & 0x7F) == 0x7F) magnitude = std::numeric_limits<float>::quiet_NaN();
  return (value & 0x80) != 0 ? -magnitude : magnitude;
}

float bfloat16_to_float(std::uint16_t value) {
  return std::bit_cast<float>(std::uint32_t{value} << 16);
}

// The bytes may lie at any address, hence the copy of each element.
template <typename Element, typename Convert>
void convert(std::span<const std::byte> bytes, std::span<float> target, Convert to) {
  const std::byte* source = bytes.data();
  for (float& value : target) {
    Element element;
    std::memcpy(&element, source, sizeof(Element));
    value = to(element);
    source += sizeof(Element);
  }
}

}  // namespace

void to_float(const TensorView& tensor, std::string_view name, std::span<float> target) {
  check<CheckpointError>(static_cast<std::int64_t>(target.size()) == tensor.element_count(),
                         "tensor '{}' has {} elements, {} are wanted", name, tensor.element_count(),
                         target.size());
  switch (tensor.dtype) {
    case DType::f64:
      return convert<double>(tensor.bytes, target,
                             [](double value) { return static_cast<float>(value); });
    case DType::f32:
      return convert<float>(tensor.bytes, target, [](float value) { return value; });
    case DType::f16:
      return convert<std::uint16_t>(tensor.bytes, target, half_to_float);
    case DType::bf16:
      return convert<std::uint16_t>(tensor.bytes, target, bfloat16_to_float);
    case DType::f8_e4m3:
      return convert<std::uint8_t>(tensor.bytes, target, e4m3_to_float);
    case DType::f8_e5m2:
      return convert<std::uint8_t>(tensor.bytes, target, e5m2_to_float);
    case DType::i64:
    case DType::i32:
    case DType::i16:
    case DType::i8:
    case DType::u64:
    case DType::u32:
    case DType::u16:
    case DType::u8:
    case DType::boolean:
      break;
  }
  fail<CheckpointError>(
      "tensor '{}' is {}; a floating-point type is wanted: F64, F32, F16, BF16, F8_E4M3 or F8_E5M2",
      name, name_of(tensor.dtype));
}

}  // namespace pcpp
