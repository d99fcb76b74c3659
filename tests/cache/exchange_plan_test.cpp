#include "cache/exchange_plan.h"

#include <gtest/gtest.h>

#include "pcpp/error.h"

namespace pcpp {
namespace {

const Site kAttention{"attn", SiteKind::attention, 1, 12, 0, 0};
const Site kPooled{"attn", SiteKind::pooled, 1, 12, 0, 0};
const Site kConvolution{"conv", SiteKind::halo, 0, 6, 1, 1};
const Site kDownsampler{"down", SiteKind::halo, 0, 6, 1, 0};
const Site kGroupNorm{"norm", SiteKind::group_norm, 0, 4, 0, 0};

// 24 x 10 latent: 3 bands of 8 rows; at level 1 each has 4 rows of 5 columns, 20 tokens.
ExchangePlan plan_for(const std::vector<Site>& sites, const ParallelConfig& config, int ranks = 3,
                      std::int64_t rows = 24) {
  const Topology topology(ranks, config.guidance, 2, rows, 4);
  return {sites, topology, config, {rows, 10, 4, 1}};
}

TEST(ExchangePlan, AdjacentAttentionReadsTheNearestTokens) {
  const ExchangePlan plan = plan_for({kAttention}, ParallelConfig::pcpp(0.33));
  const SitePlan& site = plan.site(0);
  EXPECT_EQ(site.owned, (std::vector<RowRange>{{0, 20}, {20, 40}, {40, 60}}));
  // 0.33 * 20 = 6.6: 7 tokens of the band above, 6 of the band below.
  EXPECT_EQ(site.steady_reads, (std::vector<RowRange>{{0, 26}, {13, 46}, {33, 60}}));
  EXPECT_EQ(site.synchronous_reads, (std::vector<RowRange>{{0, 60}, {0, 60}, {0, 60}}));
  EXPECT_EQ(site.sent(0, 1, StepKind::steady), (RowRange{13, 20}));
  EXPECT_EQ(site.sent(1, 0, StepKind::steady), (RowRange{20, 26}));
  EXPECT_TRUE(site.sent(0, 2, StepKind::steady).empty());
  EXPECT_TRUE(site.sent(1, 1, StepKind::steady).empty());
}

TEST(ExchangePlan, PartialOneOfTwoPatchesIsDistriFusion) {
  const std::vector<Site> sites = {kConvolution, kGroupNorm, kAttention};
  const ExchangePlan pcpp = plan_for(sites, ParallelConfig::pcpp(1), 2);
  const ExchangePlan all = plan_for(sites, ParallelConfig::distrifusion(), 2);
  for (SiteId site = 0; site < 3; ++site) {
    EXPECT_EQ(pcpp.site(site).steady_reads, all.site(site).steady_reads);
  }
}

TEST(ExchangePlan, UnevenBandsAreCutByTheirOwnHeights) {
  const ExchangePlan plan = plan_for({kAttention}, ParallelConfig::pcpp(0.5), 2, 21);
  // Bands of 12 and 9 latent rows: 6 and 5 rows at level 1.
  EXPECT_EQ(plan.site(0).owned, (std::vector<RowRange>{{0, 30}, {30, 55}}));
  EXPECT_EQ(plan.site(0).steady_reads, (std::vector<RowRange>{{0, 42}, {15, 55}}));
}

TEST(ExchangePlan, PooledRowsGoToAllWhoLeaveATokenUnread) {
  ParallelConfig config = ParallelConfig::pcpp(0.33);
  config.pool = 8;  // of 20 tokens a band: 3 rows
  const ExchangePlan plan = plan_for({kPooled, kAttention}, config);
  EXPECT_EQ(plan.site(0).owned, (std::vector<RowRange>{{0, 3}, {3, 6}, {6, 9}}));
  for (const StepKind kind : {StepKind::synchronous, StepKind::steady}) {
    EXPECT_EQ(plan.site(0).reads(kind), (std::vector<RowRange>(3, {0, 9})));
  }
  EXPECT_EQ(plan.sent_bytes(1, StepKind::steady).attention, 2 * (6 + 7 + 2 * 3) * (12 * 4));
  EXPECT_EQ(plan.pool(), 8);
  config.pool = 10;
  EXPECT_EQ(plan_for({kPooled}, config).site(0).owned,
            (std::vector<RowRange>{{0, 2}, {2, 4}, {4, 6}}));
}

TEST(ExchangePlan, NothingIsPooledThatNobodyReads) {
  ParallelConfig config = ParallelConfig::pcpp(1);
  config.pool = 8;
  // The band between two others reads both whole.
  EXPECT_EQ(plan_for({kPooled}, config).site(0).steady_reads,
            (std::vector<RowRange>{{0, 9}, {3, 6}, {0, 9}}));
  EXPECT_EQ(plan_for({kPooled}, config, 1).pool(), 0);
  for (ParallelConfig none :
       {ParallelConfig::pcpp(), ParallelConfig::distrifusion(), ParallelConfig::naive()}) {
    if (none.reach != Reach::adjacent) none.pool = 8;
    const ExchangePlan plan = plan_for({kPooled}, none);
    EXPECT_EQ(plan.pool(), 0);
    EXPECT_EQ(plan.received_bytes(0, StepKind::steady).attention, 0);
    EXPECT_EQ(plan.site(0).bundle, -1);
  }
}

TEST(ExchangePlan, HalosComeFromNeighboursOnly) {
  const ExchangePlan plan = plan_for({kConvolution, kDownsampler}, ParallelConfig::distrifusion());
  EXPECT_EQ(plan.site(0).steady_reads, (std::vector<RowRange>{{0, 9}, {7, 17}, {15, 24}}));
  EXPECT_EQ(plan.site(1).steady_reads, (std::vector<RowRange>{{0, 8}, {7, 16}, {15, 24}}));
  EXPECT_TRUE(plan.site(0).sent(0, 2, StepKind::synchronous).empty());
}

TEST(ExchangePlan, GroupNormFollowsItsMode) {
  ParallelConfig config = ParallelConfig::pcpp();
  const auto site_for = [&](GroupNormMode mode) {
    config.group_norm = mode;
    return plan_for({kGroupNorm}, config).site(0);
  };
  EXPECT_TRUE(site_for(GroupNormMode::corrected).keeps_own);
  EXPECT_EQ(site_for(GroupNormMode::corrected).steady_reads[1], (RowRange{0, 3}));
  EXPECT_TRUE(plan_for({kGroupNorm}, config, 2).site(0).keeps_own);
  EXPECT_FALSE(plan_for({kGroupNorm}, config, 1).site(0).keeps_own);
  EXPECT_FALSE(site_for(GroupNormMode::stale).keeps_own);
  EXPECT_EQ(site_for(GroupNormMode::local).steady_reads[1], (RowRange{1, 2}));
  EXPECT_EQ(site_for(GroupNormMode::local).synchronous_reads[1], (RowRange{0, 3}));
  EXPECT_TRUE(site_for(GroupNormMode::synchronous).always_fresh);
  EXPECT_EQ(site_for(GroupNormMode::synchronous).bundle, -1);
}

TEST(ExchangePlan, ASingleRunReadsAllOfItsOwnRowsAndKeepsNothing) {
  const Topology topology(3, Guidance::batched, 1, 24, 4);
  const std::vector<Site> sites = {kGroupNorm, {"up", SiteKind::halo, -2, 6, 1, 1}, kAttention};
  const ExchangePlan plan = ExchangePlan::of_one_run(sites, topology, {24, 10, 4, 1});
  EXPECT_TRUE(plan.bundles().empty());
  EXPECT_EQ(plan.stale_bytes(1), 0);
  for (const SitePlan& site : plan.sites()) {
    EXPECT_TRUE(site.always_fresh);
    EXPECT_FALSE(site.keeps_own);
    EXPECT_EQ(site.bundle, -1);
  }
  // Two levels below the latents': 32 rows a band of 40 columns.
  EXPECT_EQ(plan.site(1).reads(StepKind::synchronous),
            (std::vector<RowRange>{{0, 33}, {31, 65}, {63, 96}}));
  EXPECT_EQ(plan.site(1).row_bytes, 40 * 6 * 4);
  EXPECT_EQ(plan.site(2).reads(StepKind::synchronous)[1], (RowRange{0, 60}));
}

TEST(ExchangePlan, ReachNoneMovesNothingButNoise) {
  const std::vector<Site> sites = {kConvolution, kGroupNorm, kAttention};
  const ExchangePlan plan = plan_for(sites, ParallelConfig::naive());
  for (const StepKind kind : {StepKind::synchronous, StepKind::steady}) {
    const SiteBytes bytes = plan.sent_bytes(1, kind);
    EXPECT_EQ(bytes.total(), bytes.gather);
  }
  EXPECT_EQ(plan.stale_bytes(1), 0);
  EXPECT_TRUE(plan.bundles().empty());
}

TEST(ExchangePlan, CountsBytesByKind) {
  const std::vector<Site> sites = {kConvolution, kGroupNorm, kAttention};
  const ExchangePlan plan = plan_for(sites, ParallelConfig::pcpp(0.33));
  const SiteBytes middle = plan.sent_bytes(1, StepKind::steady);
  EXPECT_EQ(middle.halo, 2 * 2 * (10 * 6 * 4));         // two branches, two rows
  EXPECT_EQ(middle.group_norm, 2 * 2 * (4 * 2 * 8));    // to both others
  EXPECT_EQ(middle.attention, 2 * (6 + 7) * (12 * 4));  // 6 up, 7 down
  EXPECT_EQ(middle.gather, 2 * 4 * 8 * 10 * 4);         // its guided noise band, to both others
  EXPECT_EQ(plan.sent_bytes(1, StepKind::synchronous).attention, 2 * 2 * 20 * (12 * 4));
  const SiteBytes received = plan.received_bytes(1, StepKind::steady);
  EXPECT_EQ(received.attention, 2 * (7 + 6) * (12 * 4));
  EXPECT_EQ(plan.stale_bytes(1), 2 * (received.total() - received.gather));
  EXPECT_EQ(plan.sent_bytes(0, StepKind::steady).attention, 2 * 7 * (12 * 4));
  EXPECT_EQ(plan.received_bytes(0, StepKind::steady).attention, 2 * 6 * (12 * 4));
}

TEST(ExchangePlan, EightBitsAValueTravelInSteadySteps) {
  const std::vector<Site> sites = {kConvolution, kGroupNorm, kPooled, kAttention};
  ParallelConfig config = ParallelConfig::pcpp(0.33);
  config.pool = 8;
  config.row_format = RowFormat::int8;
  const ExchangePlan plan = plan_for(sites, config);
  const SiteBytes steady = plan.sent_bytes(1, StepKind::steady);
  EXPECT_EQ(steady.halo, 2 * 2 * (10 * 6 + 4));  // a scale for each row of 60 values
  EXPECT_EQ(steady.attention, 2 * (6 + 7 + 2 * 3) * (12 + 4));
  EXPECT_EQ(steady.group_norm, 2 * 2 * (4 * 2 * 2));  // float16
  EXPECT_EQ(plan.sent_bytes(1, StepKind::synchronous).halo, 2 * 2 * (10 * 6 * 4));
  EXPECT_EQ(plan.sent_bytes(1, StepKind::synchronous).group_norm, 2 * 2 * (4 * 2 * 8));
  const SiteBytes received = plan.received_bytes(1, StepKind::steady);
  EXPECT_EQ(plan.stale_bytes(1), 2 * (received.total() - received.gather));
  config.group_norm = GroupNormMode::synchronous;
  EXPECT_EQ(plan_for(sites, config).sent_bytes(1, StepKind::steady).group_norm,
            2 * 2 * (4 * 2 * 8));
}

TEST(ExchangePlan, FourBitsAValueTravelAndTheRowsThatTheyAreAddedToAreKept) {
  ParallelConfig config = ParallelConfig::pcpp(0.33);
  config.row_format = RowFormat::int4;
  const ExchangePlan plan = plan_for({kConvolution, kGroupNorm, kAttention}, config);
  const SiteBytes steady = plan.sent_bytes(1, StepKind::steady);
  EXPECT_EQ(steady.halo, 2 * 2 * (10 * 6 / 2 + 4));
  EXPECT_EQ(steady.attention, 2 * (6 + 7) * (12 / 2 + 4));
  EXPECT_EQ(steady.group_norm, 2 * 2 * (4 * 2 * 2));
  EXPECT_EQ(plan.sent_bytes(1, StepKind::synchronous).halo, 2 * 2 * (10 * 6 * 4));
  const SiteBytes received = plan.received_bytes(1, StepKind::steady);
  EXPECT_EQ(plan.stale_bytes(1), 2 * (received.total() - received.gather) + 2 * 2 * (10 * 6 * 4) +
                                     2 * (7 + 6) * (12 * 4));
}

TEST(ExchangePlan, EveryByteSentIsReceived) {
  const std::vector<Site> sites = {kConvolution, kGroupNorm, kAttention, kDownsampler};
  for (const ParallelConfig& config :
       {ParallelConfig::naive(), ParallelConfig::pcpp(0.37), ParallelConfig::distrifusion()}) {
    const ExchangePlan plan = plan_for(sites, config, 5, 37);
    for (const StepKind kind : {StepKind::synchronous, StepKind::steady}) {
      std::int64_t sent = 0;
      std::int64_t received = 0;
      for (int rank = 0; rank < 5; ++rank) {
        sent += plan.sent_bytes(rank, kind).total();
        received += plan.received_bytes(rank, kind).total();
      }
      EXPECT_EQ(sent, received);
    }
  }
}

TEST(ExchangePlan, RefusesSettingsOutOfRange) {
  ParallelConfig config = ParallelConfig::pcpp(1.5);
  EXPECT_THROW(plan_for({kAttention}, config), ConfigError);
  config = ParallelConfig::pcpp();
  config.pool = -1;
  EXPECT_THROW(plan_for({kPooled}, config), ConfigError);
  config = ParallelConfig::pcpp();
  config.sync_steps = -1;
  EXPECT_THROW(plan_for({kAttention}, config), ConfigError);
  config.sync_steps = 0;
  EXPECT_THROW(plan_for({kAttention}, config), ConfigError);
  EXPECT_NO_THROW(plan_for({kAttention}, config, 1));
  config.reach = Reach::none;
  EXPECT_NO_THROW(plan_for({kAttention}, config));
}

TEST(ExchangePlan, RefusesSettingsOutsideTheirEnumerations) {
  ParallelConfig config;
  config.reach = static_cast<Reach>(7);
  EXPECT_THROW(check_settings(config, 2), ConfigError);
  config = {};
  config.guidance = static_cast<Guidance>(7);
  EXPECT_THROW(check_settings(config, 2), ConfigError);
  config = {};
  config.group_norm = static_cast<GroupNormMode>(7);
  EXPECT_THROW(check_settings(config, 2), ConfigError);
  config = {};
  config.row_format = static_cast<RowFormat>(7);
  EXPECT_THROW(check_settings(config, 2), ConfigError);
  EXPECT_NO_THROW(check_settings({}, 2));
}

}  // namespace
}  // namespace pcpp
