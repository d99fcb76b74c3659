#include "verification.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <vector>

namespace pcpp::benchmarks {

namespace {

double relative_error(const std::vector<float>& actual, const std::vector<float>& expected) {
  if (actual.size() != expected.size()) return std::numeric_limits<double>::infinity();
  double error = 0;
  double size = 0;
  for (std::size_t i = 0; i < actual.size(); ++i) {
    const double difference = double{actual[i]} - double{expected[i]};
    error += difference * difference;
    size += double{expected[i]} * double{expected[i]};
  }
  return error == 0 ? 0 : std::sqrt(error / size);
}

}  // namespace

void check_same(const Drawing& a, const Drawing& b, const std::string& which) {
  if (a.latents != b.latents) {
    throw DeviceError(fmt::format("{} differ in the bits of their latents: not timed", which));
  }
  const auto sent = [](const StepCost& x, const StepCost& y) { return x.sent == y.sent; };
  if (!std::equal(a.steps.begin(), a.steps.end(), b.steps.begin(), b.steps.end(), sent)) {
    throw DeviceError(fmt::format("{} differ in the bytes that they send: not timed", which));
  }
}

void check_synchronous(const Drawing& synchronous, const Drawing& single, DataType dtype,
                       const std::string& which) {
  const double bound = dtype == DataType::float32 ? 1e-3 : 0.1;
  const double error = relative_error(synchronous.latents, single.latents);
  if (error <= bound) return;
  throw DeviceError(fmt::format(
      "{}: synchronous latents are {:.1e} from those of one device, more than {}: not timed", which,
      error, bound));
}

}  // namespace pcpp::benchmarks
