// The fraction of a band that PCPP's attention reads, in exact arithmetic.
#ifndef PCPP_CACHE_PARTIAL_H_
#define PCPP_CACHE_PARTIAL_H_

#include <cstdint>

namespace pcpp {

// A decimal fraction in [0, 1]: the given double rounded to 15 decimal places, so that 0.3
// is 3/10 and 0.3 of 10 tokens are 3. Throws ConfigError for any other number.
class Partial {
 public:
  explicit Partial(double value);

  // The smallest integer not below, the greatest not above, p times `tokens` (tokens >= 0).
  std::int64_t ceil_of(std::int64_t tokens) const;
  std::int64_t floor_of(std::int64_t tokens) const;

 private:
  std::int64_t numerator_ = 0;  // of 10^15
};

}  // namespace pcpp

#endif  // PCPP_CACHE_PARTIAL_H_
