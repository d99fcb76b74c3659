// Elements of every type that kernels compute in, for tests.
#ifndef PCPP_TESTS_SUPPORT_ELEMENTS_H_
#define PCPP_TESTS_SUPPORT_ELEMENTS_H_

#include <bit>
#include <cstdint>
#include <random>
#include <vector>

#include "kernels/bfloat16.h"
#include "kernels/float16.h"

namespace pcpp {

inline float float_of(float value) { return value; }
inline float float_of(Float16 value) {
  return static_cast<float>(std::bit_cast<_Float16>(value.bits));
}
inline float float_of(Bfloat16 value) {
  return std::bit_cast<float>(static_cast<std::uint32_t>(value.bits) << 16);
}

inline void set(float& target, float value) { target = value; }
inline void set(Float16& target, float value) {
  target.bits = std::bit_cast<std::uint16_t>(static_cast<_Float16>(value));
}
inline void set(Bfloat16& target, float value) {  // cut, not rounded
  target.bits = static_cast<std::uint16_t>(std::bit_cast<std::uint32_t>(value) >> 16);
}

template <typename T>
T element_of(float value) {
  T element{};
  set(element, value);
  return element;
}

template <typename T>
double exact(T value) {
  return static_cast<double>(float_of(value));
}

template <typename T>
std::vector<float> floats_of(const std::vector<T>& values) {
  std::vector<float> floats;
  for (const T value : values) floats.push_back(float_of(value));
  return floats;
}

// Half a unit in the last place of a number, relative to it.
template <typename T>
inline constexpr double kRounding = 0x1p-24;
template <>
inline constexpr double kRounding<Float16> = 0x1p-11;
template <>
inline constexpr double kRounding<Bfloat16> = 0x1p-8;

// Normally distributed; the same for the same count.
template <typename T>
std::vector<T> random_values(std::int64_t count, double mean, double deviation) {
  std::mt19937_64 random(static_cast<std::uint64_t>(count));
  std::normal_distribution<double> normal(mean, deviation);
  std::vector<T> values(static_cast<std::size_t>(count));
  for (T& value : values) set(value, static_cast<float>(normal(random)));
  return values;
}

}  // namespace pcpp

#endif  // PCPP_TESTS_SUPPORT_ELEMENTS_H_
