#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <vector>

#include "kernels/moments.h"
#include "support/device.h"

namespace pcpp {
namespace {

using MomentsOnDevice = DeviceTest;

// [items, groups, 2] of distributions of deviation `deviation`.
std::vector<double> random_moments(std::int64_t items, std::int64_t groups, double deviation,
                                   std::uint64_t seed) {
  std::mt19937_64 random(seed);
  std::normal_distribution<double> mean(1.0, 0.5);
  std::vector<double> moments;
  for (std::int64_t i = 0; i < items * groups; ++i) {
    moments.push_back(mean(random));
    moments.push_back(moments.back() * moments.back() + deviation * deviation);
  }
  return moments;
}

struct Case {
  std::int64_t batch;
  std::int64_t groups;
  int others;
  bool corrected;
  double stale_deviation = 1.0;
};

void expect_equal(const Case& c) {
  const std::vector<double> fresh = random_moments(c.batch, c.groups, 1.0, 1);
  const std::vector<double> stale = random_moments(c.batch, c.groups, c.stale_deviation, 2);
  // As two pieces: one band by itself, and the rest in one array with the items apart.
  const std::vector<double> first = random_moments(c.batch, c.groups, 1.0, 3);
  const std::vector<double> rest = random_moments(c.batch * (c.others - 1), c.groups, 1.0, 4);
  const auto bands_over = [&](const double* first_data, const double* rest_data) {
    std::vector<BandMoments> bands = {{first_data, 2 * c.groups, 5}};
    for (int i = 1; i < c.others; ++i) {
      bands.push_back({rest_data + (i - 1) * 2 * c.groups, (c.others - 1) * 2 * c.groups, 1.0 + i});
    }
    return bands;
  };
  constexpr double kAllRows = 5000;

  std::vector<double> expected(fresh.size());
  const std::vector<BandMoments> bands = bands_over(first.data(), rest.data());
  combine_moments({fresh.data(), c.corrected ? stale.data() : nullptr, 3}, bands.data(), c.others,
                  kAllRows, c.batch, c.groups, expected.data());

  DeviceArray<double> device_fresh(fresh);
  DeviceArray<double> device_stale(stale);
  DeviceArray<double> device_first(first);
  DeviceArray<double> device_rest(rest);
  DeviceArray<double> result(fresh.size());
  const std::vector<BandMoments> device_bands = bands_over(device_first.data(), device_rest.data());
  combine_moments({device_fresh.data(), c.corrected ? device_stale.data() : nullptr, 3},
                  device_bands.data(), c.others, kAllRows, c.batch, c.groups, result.data(),
                  nullptr);
  const std::vector<double> actual = result.values();
  for (std::size_t i = 0; i < expected.size(); ++i) {
    ASSERT_NEAR(actual[i], expected[i], 1e-12) << i;
  }
}

TEST_F(MomentsOnDevice, EqualTheTwins) {
  for (const int others : {1, 2, 7, kMostOtherBands}) {
    for (const bool corrected : {false, true}) {
      expect_equal({1, 32, others, corrected});
      expect_equal({3, 5, others, corrected});
      expect_equal({9, 32, others, corrected});
    }
  }
}

TEST_F(MomentsOnDevice, AVarianceBelowTheBoundIsReplaced) {
  // Own stale far wider than own fresh: the correction takes more away than there is.
  expect_equal({2, 32, 2, true, 3.0});
}

TEST_F(MomentsOnDevice, MoreBandsThanFitAreRefused) {
  const std::vector<BandMoments> bands(kMostOtherBands + 1);
  EXPECT_THROW(combine_moments({}, bands.data(), kMostOtherBands + 1, 1, 1, 1, nullptr, nullptr),
               std::runtime_error);
}

}  // namespace
}  // namespace pcpp
