#include "kernels/moments.h"

#include <gtest/gtest.h>

#include <vector>

namespace pcpp {
namespace {

// Two groups, mean and mean of squares; variances 1 and 4.
const std::vector<double> kFresh = {1.0, 2.0, 0.0, 4.0};

std::vector<double> combined(const double* stale, const std::vector<BandMoments>& others,
                             double own_rows, double all_rows) {
  std::vector<double> result(kFresh.size());
  combine_moments({kFresh.data(), stale, own_rows}, others.data(), static_cast<int>(others.size()),
                  all_rows, 1, 2, result.data());
  return result;
}

TEST(Moments, WithoutOwnStaleOnesAreTheMeanByRows) {
  const std::vector<double> other = {4.0, 17.0, 3.0, 10.0};
  EXPECT_EQ(combined(nullptr, {{other.data(), 4, 1}}, 2, 3),
            (std::vector<double>{2.0, 7.0, 1.0, 6.0}));
}

TEST(Moments, WithOwnStaleOnesAreTheStaleMeanMovedAsTheOwnBandMoved) {
  const std::vector<double> stale = {0.5, 1.25, 0.0, 4.0};
  const std::vector<double> other = {1.5, 4.25, 0.0, 8.0};
  // Stale means (1, 2.75) and (0, 6), moved by the own band's (0.5, 0.75) and (0, 0).
  EXPECT_EQ(combined(stale.data(), {{other.data(), 4, 1}}, 1, 2),
            (std::vector<double>{1.5, 3.5, 0.0, 6.0}));
}

TEST(Moments, AVarianceBelowHalfOfTheOwnBandsShareIsReplaced) {
  // The second group's: 4 + (4 - s) / 2 with an own share of 1/2, so the bound is 1.
  const std::vector<double> other = {1.0, 2.0, 0.0, 4.0};
  const std::vector<double> at_bound = {1.0, 2.0, 0.0, 10.0};
  EXPECT_EQ(combined(at_bound.data(), {{other.data(), 4, 1}}, 1, 2)[3], 1.0);
  const std::vector<double> below_bound = {1.0, 2.0, 0.0, 10.5};
  EXPECT_EQ(combined(below_bound.data(), {{other.data(), 4, 1}}, 1, 2)[3], 4.0);
  // The bound is by all rows of the image, read or not.
  EXPECT_EQ(combined(below_bound.data(), {{other.data(), 4, 1}}, 1, 4)[3], 0.75);
}

TEST(Moments, ItemsOfTheBatchLieAStrideApart) {
  const std::vector<double> own = {1, 2, 3, 10};  // two items of one group
  const std::vector<double> other = {3, 10, -1, -1, 5, 26};
  const BandMoments band{other.data(), 4, 1};
  std::vector<double> result(4);
  combine_moments({own.data(), nullptr, 1}, &band, 1, 2, 2, 1, result.data());
  EXPECT_EQ(result, (std::vector<double>{2, 6, 4, 18}));
}

}  // namespace
}  // namespace pcpp
