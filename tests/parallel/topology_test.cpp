#include "parallel/topology.h"

#include <gtest/gtest.h>

#include <string_view>
#include <vector>

#include "pcpp/error.h"
#include "support/errors.h"

namespace pcpp {
namespace {

TEST(SplitRows, DealsUnitsEvenlyWithTheFirstBandsLarger) {
  EXPECT_EQ(split_rows(64, 8, 2), (std::vector<RowRange>{{0, 32}, {32, 64}}));
  EXPECT_EQ(split_rows(64, 8, 3), (std::vector<RowRange>{{0, 24}, {24, 48}, {48, 64}}));
  EXPECT_EQ(split_rows(8, 8, 1), (std::vector<RowRange>{{0, 8}}));
}

TEST(SplitRows, OnlyTheLastBandIsRagged) {
  EXPECT_EQ(split_rows(21, 4, 3), (std::vector<RowRange>{{0, 8}, {8, 16}, {16, 21}}));
  EXPECT_EQ(split_rows(3, 4, 1), (std::vector<RowRange>{{0, 3}}));
}

TEST(SplitRows, RefusesMorePatchesThanUnits) {
  EXPECT_THROW(split_rows(16, 8, 3), ConfigError);
  EXPECT_THROW(split_rows(16, 8, 0), ConfigError);
  EXPECT_THROW(split_rows(0, 8, 1), ConfigError);
  EXPECT_THROW(split_rows(16, 0, 1), ConfigError);
}

TEST(BandsOfHeights, FollowEachOtherFromTheTop) {
  EXPECT_EQ(bands_of_heights({8, 4, 9}, 21, 4, 3),
            (std::vector<RowRange>{{0, 8}, {8, 12}, {12, 21}}));
  const Topology topology(4, Guidance::split, 2, 24, 4, {16, 8});
  EXPECT_EQ(topology.band_of(3), (RowRange{16, 24}));
}

TEST(BandsOfHeights, RefuseWhatDoesNotFitAndNameIt) {
  const auto expect_refused = [](const std::vector<int>& heights, std::string_view part) {
    testing::expect_error<ConfigError>([&] { bands_of_heights(heights, 21, 4, 3); }, {part});
  };
  expect_refused({8, 13}, "2 bands for 3 patches");
  expect_refused({8, 6, 7}, "a band of 6 rows");
  expect_refused({8, 0, 13}, "a band of 0 rows");
  expect_refused({16, 8, -3}, "a band of -3 rows");
  expect_refused({8, 8, 4}, "bands of 20 rows together");
}

TEST(BandAtLevel, EveryLevelIsCoveredWithoutGapOrOverlap) {
  for (std::int64_t rows = 1; rows <= 70; ++rows) {
    const std::int64_t units = (rows + 7) / 8;
    for (int patches = 1; patches <= units; ++patches) {
      const std::vector<RowRange> bands = split_rows(rows, 8, patches);
      for (int level = -2; level <= 3; ++level) {
        std::int64_t next = 0;
        for (const RowRange& band : bands) {
          const RowRange at = band_at_level(band, level);
          EXPECT_EQ(at.begin, next);
          EXPECT_GT(at.size(), 0);
          next = at.end;
        }
        EXPECT_EQ(next, rows_at_level(rows, level));
      }
    }
  }
}

TEST(BandAtLevel, LevelsBelowTheLatentsDouble) {
  EXPECT_EQ(rows_at_level(5, -3), 40);
  EXPECT_EQ(band_at_level({2, 5}, -1), (RowRange{4, 10}));
}

TEST(Intersect, IsEmptyWhereTheRangesDoNotMeet) {
  EXPECT_EQ(intersect({0, 5}, {3, 9}), (RowRange{3, 5}));
  EXPECT_TRUE(intersect({0, 3}, {3, 9}).empty());
  EXPECT_EQ(intersect({0, 3}, {7, 9}).size(), 0);
}

TEST(Topology, BatchedGuidanceMakesAPatchOfEveryRank) {
  const Topology topology(3, Guidance::batched, 2, 24, 4);
  EXPECT_EQ(topology.patches(), 3);
  EXPECT_EQ(topology.branches_of_rank(), 2);
  EXPECT_EQ(topology.patch_of(2), 2);
  EXPECT_EQ(topology.first_branch(2), 0);
  EXPECT_EQ(topology.rank_of_patch(2, 0), 0);
}

TEST(Topology, SplitGuidanceGivesEachBranchHalfOfTheRanks) {
  const Topology topology(4, Guidance::split, 2, 24, 4);
  EXPECT_EQ(topology.patches(), 2);
  EXPECT_EQ(topology.branches_of_rank(), 1);
  EXPECT_EQ(topology.first_branch(1), 0);
  EXPECT_EQ(topology.first_branch(2), 1);
  EXPECT_EQ(topology.patch_of(3), 1);
  EXPECT_EQ(topology.rank_of_patch(3, 0), 2);
  EXPECT_EQ(topology.band_of(3), (RowRange{12, 24}));
}

TEST(Topology, RefusesASplitThatCannotBe) {
  EXPECT_THROW(Topology(3, Guidance::split, 2, 24, 4), ConfigError);
  EXPECT_THROW(Topology(2, Guidance::split, 1, 24, 4), ConfigError);
  EXPECT_THROW(Topology(0, Guidance::batched, 2, 24, 4), ConfigError);
}

}  // namespace
}  // namespace pcpp
