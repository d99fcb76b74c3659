#include "ops/patch_context.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include <array>
#include <stdexcept>

#include "support/run_patches.h"

namespace pcpp {
namespace {

using Moments = std::array<double, 2>;  // mean and mean of squares

at::Tensor tensor_of(const Moments& moments) {
  at::Tensor tensor = at::empty({1, 1, 2}, at::kDouble);
  tensor.mutable_data_ptr<double>()[0] = moments[0];
  tensor.mutable_data_ptr<double>()[1] = moments[1];
  return tensor;
}

// Two bands of 6 and 2 rows hand in `before` in a synchronous and `now` in a steady step; returns
// what band `band` gets back.
Moments corrected(const std::array<Moments, 2>& before, const std::array<Moments, 2>& now,
                  std::size_t band) {
  SiteRegistry sites;
  const SiteId site = sites.add({"norm", SiteKind::group_norm, 0, 1});
  PatchSetup setup;
  setup.patches = 2;
  setup.row_unit = 6;
  setup.shape = {8, 4, 4, 1};
  setup.parallel.sync_steps = 1;
  setup.steps = 2;
  const auto results = run_bands(setup, sites, [&](int step, PatchContext& context) {
    const std::size_t own = context.is_first() ? 0 : 1;
    return context.exchange_moments(site, 0, tensor_of((step == 0 ? before : now)[own]));
  });
  const double* values = results[1][band].const_data_ptr<double>();
  return {values[0], values[1]};
}

TEST(ExchangeMoments, CorrectsByTheChangeToTheMeanOverRows) {
  // The mean by rows is (6 * 1 + 2 * 5) / 8 = 2 and (6 * 3 + 2 * 35) / 8 = 11.
  const std::array<Moments, 2> before = {{{1, 3}, {5, 35}}};
  const std::array<Moments, 2> now = {{{1.5, 4}, {5.25, 36}}};
  const Moments first = corrected(before, now, 0);
  EXPECT_DOUBLE_EQ(first[0], 1.5 + (2 - 1));
  EXPECT_DOUBLE_EQ(first[1], 4 + (11 - 3));
  const Moments second = corrected(before, now, 1);
  EXPECT_DOUBLE_EQ(second[0], 5.25 + (2 - 5));
  EXPECT_DOUBLE_EQ(second[1], 36 + (11 - 35));
}

// Band 1 holds a quarter of the rows, so the true variance is at least a quarter of its own, and
// the correction stands down to an eighth. Means of zero make the mean of squares the variance.
TEST(ExchangeMoments, ReplacesAVarianceThatIsFarTooSmall) {
  // The correction of band 1 is (6 * 1 + 2 * 9) / 8 - 9 = -6.
  const std::array<Moments, 2> before = {{{0, 1}, {0, 9}}};
  const auto variance = [&](double own) { return corrected(before, {{{0, 1}, {0, own}}}, 1)[1]; };
  EXPECT_DOUBLE_EQ(variance(9), 3);            // what a synchronous step gives
  EXPECT_DOUBLE_EQ(variance(7), 1);            // 1 > 7 / 8
  EXPECT_DOUBLE_EQ(variance(6.75), 6.75);      // 0.75 < 6.75 / 8
  EXPECT_DOUBLE_EQ(variance(6.0005), 6.0005);  // positive, and would multiply the group by 100
  EXPECT_DOUBLE_EQ(variance(5), 5);            // negative
}

TEST(ExchangeMoments, KeepsTheCorrectedMeanWhereItReplacesTheVariance) {
  const std::array<Moments, 2> before = {{{2, 5}, {6, 46}}};  // global 3 and 15.25
  const Moments result = corrected(before, {{{2, 5}, {5, 26}}}, 1);
  EXPECT_DOUBLE_EQ(result[0], 5 + (3 - 6));
  EXPECT_DOUBLE_EQ(result[1], 2 * 2 + (26 - 5 * 5));
}

TEST(ExchangeMoments, OfConstantBandsHasNoVariance) {
  const std::array<Moments, 2> before = {{{1, 1}, {1, 1}}};
  const Moments result = corrected(before, before, 1);
  EXPECT_DOUBLE_EQ(result[0], 1);
  EXPECT_DOUBLE_EQ(result[1], 1);
}

TEST(PatchContext, KnowsItsBand) {
  SiteRegistry sites;
  sites.add_condition_slot();
  PatchSetup setup;
  setup.patches = 3;
  setup.row_unit = 4;
  setup.shape = {17, 8, 4, 1};  // bands of 8, 8 and 1 rows
  run_bands(setup, sites, [](int, PatchContext& context) {
    const RowRange band = context.band(0);
    EXPECT_EQ(context.is_first(), band == (RowRange{0, 8}));
    EXPECT_EQ(context.is_last(), band == (RowRange{16, 17}));
    EXPECT_FALSE(context.is_whole());
    EXPECT_EQ(context.is_last(), context.band(2) == (RowRange{4, 5}));
    EXPECT_FALSE(context.condition_slot(0).defined());
    EXPECT_THROW(context.condition_slot(1), std::out_of_range);
    return at::ones({1, 1, 1, 1});
  });
}

TEST(PatchContext, TheWholeImageExchangesNothing) {
  PatchContext context;
  EXPECT_TRUE(context.is_whole() && context.is_first() && context.is_last());
  EXPECT_EQ(context.band(1), (RowRange{0, 0}));
  const at::Tensor rows = at::ones({1, 2, 3, 4}).contiguous(at::MemoryFormat::ChannelsLast);
  const Neighbours halo = context.exchange_halo(0, rows);
  EXPECT_TRUE(halo.above.empty() && halo.below.empty());
  const at::Tensor moments = tensor_of({1, 3});
  EXPECT_TRUE(context.exchange_moments(0, 0, moments).is_same(moments));
}

TEST(PatchContext, RefusesMomentsThatAreNotContiguousFloat64) {
  PatchContext context;
  const at::Tensor moments = at::zeros({2, 3, 2}, at::kDouble);
  EXPECT_NO_THROW(context.exchange_moments(0, 0, moments));
  EXPECT_THROW(context.exchange_moments(0, 0, moments.to(at::kFloat)), std::logic_error);
  EXPECT_THROW(context.exchange_moments(0, 0, moments.transpose(0, 1)), std::logic_error);
}

TEST(PatchContext, RefusesRowsThatWereNotPlanned) {
  SiteRegistry sites;
  const SiteId pooled = sites.add({"attn", SiteKind::pooled, 0, 6});
  const SiteId site = sites.add({"attn", SiteKind::attention, 0, 6});
  PatchSetup setup;
  setup.patches = 2;
  setup.shape = {4, 5, 4, 2};  // two bands of 10 tokens
  const auto run = [&](const at::Tensor& own) {
    run_bands(setup, sites, [&](int, PatchContext& context) {
      return context.exchange_tokens(pooled, site, own).above.empty() ? own : at::Tensor(own);
    });
  };
  run(at::zeros({2, 10, 6}));
  EXPECT_THROW(run(at::zeros({2, 9, 6})), std::logic_error);
  EXPECT_THROW(run(at::zeros({1, 20, 6})), std::logic_error);
  EXPECT_THROW(run(at::zeros({2, 10, 6}, at::kDouble)), std::logic_error);
  EXPECT_THROW(run(at::zeros({2, 6, 10}).transpose(1, 2)), std::logic_error);
}

TEST(RunPatches, ThrowsTheFirstFailureOfARank) {
  SiteRegistry sites;
  const SiteId site = sites.add({"norm", SiteKind::group_norm, 0, 1});
  PatchSetup setup;
  setup.patches = 3;
  setup.shape = {6, 5, 4, 1};
  EXPECT_THROW(run_bands(setup, sites,
                         [&](int, PatchContext& context) {
                           if (context.is_last()) throw std::domain_error("broken");
                           return context.exchange_moments(site, 0, tensor_of({0, 1}));
                         }),
               std::domain_error);
}

}  // namespace
}  // namespace pcpp
