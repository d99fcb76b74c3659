#include "cache/partial.h"

#include <string>

#include "base/check.h"

namespace pcpp {

namespace {
__extension__ using Wide = __int128;
// More digits than this change no cut of an image that fits in memory.
constexpr int kDigits = 15;
}  // namespace

Partial::Partial(double value) {
  check<ConfigError>(value >= 0 && value <= 1,
                     "partial {} is outside [0, 1]: it is the fraction of an adjacent band that "
                     "attention reads",
                     value);
  std::string digits = fmt::format("{:.{}f}", value, kDigits);
  digits.erase(digits.find_last_not_of('0') + 1);
  const std::size_t point = digits.find('.');
  for (std::size_t i = point + 1; i < digits.size(); ++i) denominator_ *= 10;
  digits.erase(point, 1);
  numerator_ = std::stoll(digits);
}

std::int64_t Partial::floor_of(std::int64_t tokens) const {
  return static_cast<std::int64_t>(Wide{numerator_} * tokens / denominator_);
}

std::int64_t Partial::ceil_of(std::int64_t tokens) const {
  return static_cast<std::int64_t>((Wide{numerator_} * tokens + denominator_ - 1) / denominator_);
}

}  // namespace pcpp
