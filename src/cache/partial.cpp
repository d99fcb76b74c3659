#include "cache/partial.h"

#include <string>

#include "base/check.h"

namespace pcpp {

namespace {
__extension__ using Wide = __int128;
// More digits than its zeros change no cut of an image that fits in memory.
constexpr std::int64_t kDenominator = 1'000'000'000'000'000;
}  // namespace

Partial::Partial(double value) {
  check<ConfigError>(value >= 0 && value <= 1,
                     "partial {} is outside [0, 1]: it is the fraction of an adjacent band that "
                     "attention reads",
                     value);
  std::string digits = fmt::format("{:.15f}", value);
  digits.erase(digits.find('.'), 1);
  numerator_ = std::stoll(digits);
}

std::int64_t Partial::floor_of(std::int64_t tokens) const {
  return static_cast<std::int64_t>(Wide{numerator_} * tokens / kDenominator);
}

std::int64_t Partial::ceil_of(std::int64_t tokens) const {
  return static_cast<std::int64_t>((Wide{numerator_} * tokens + kDenominator - 1) / kDenominator);
}

}  // namespace pcpp
