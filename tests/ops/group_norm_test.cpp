#include "ops/group_norm.h"

#include <ATen/Parallel.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/count_nonzero.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/group_norm.h>
#include <ATen/ops/isfinite.h>
#include <ATen/ops/silu.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/where.h>
#include <gtest/gtest.h>

#include <tuple>

#include "pcpp/error.h"
#include "support/random_weights.h"
#include "support/run_patches.h"
#include "support/tensors.h"

namespace pcpp {
namespace {

constexpr std::int64_t kChannels = 12;
constexpr std::int64_t kGroups = 4;
constexpr std::int64_t kColumns = 6;  // of the latent
constexpr double kEpsilon = 1e-5;
constexpr double kRounding = 1e-6;

RandomWeights norm_weights(std::int64_t channels) {
  RandomWeights weights(13);
  weights.add("weight", {channels}, 1.0);
  weights.add("bias", {channels});
  return weights;
}

at::Tensor channels_last(const at::Tensor& tensor) {
  return tensor.contiguous(at::MemoryFormat::ChannelsLast);
}

at::Tensor whole_norm(const RandomWeights& weights, const at::Tensor& input, std::int64_t groups) {
  return at::group_norm(input.to(at::kDouble), groups, weights.at("weight").to(at::kDouble),
                        weights.at("bias").to(at::kDouble), kEpsilon);
}

class WholeGroupNorm
    : public testing::TestWithParam<std::tuple<std::int64_t, std::int64_t, std::int64_t, double>> {
};

TEST_P(WholeGroupNorm, EqualsLibtorchInFloat64) {
  const auto& [channels, groups, rows, mean] = GetParam();
  const RandomWeights weights = norm_weights(channels);
  const at::Tensor input = random_tensor(1, {2, channels, rows, 13}) * 3 + mean;
  const at::Tensor expected = whole_norm(weights, input, groups);
  for (const bool silu : {false, true}) {
    SiteRegistry sites;
    const GroupNorm norm(weights.scope(), channels, groups, kEpsilon,
                         silu ? GroupNorm::Activation::silu : GroupNorm::Activation::none, 0,
                         sites);
    PatchContext whole;
    for (const at::Tensor& layout : {input, channels_last(input)}) {
      EXPECT_LT(relative_error(norm(layout, whole), silu ? at::silu(expected) : expected),
                kRounding);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Sizes, WholeGroupNorm,
                         testing::Values(std::tuple(12, 4, 7, 0.0), std::tuple(33, 11, 29, 0.0),
                                         std::tuple(64, 32, 64, 1e3), std::tuple(5, 5, 1, 0.0),
                                         std::tuple(640, 32, 16, 10.0),
                                         std::tuple(15, 1, 40, 1e3)));

TEST(GroupNorm, WritesBetweenRowsOfZeros) {
  for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16}) {
    const RandomWeights weights = norm_weights(kChannels);
    SiteRegistry sites;
    const GroupNorm norm(weights.scope(dtype), kChannels, kGroups, kEpsilon,
                         GroupNorm::Activation::silu, 0, sites);
    const at::Tensor input = channels_last(random_tensor(3, {2, kChannels, 95, 7}).to(dtype));
    PatchContext whole;
    const PaddedRows result = norm(input, whole, 2);
    EXPECT_TRUE(result.image.is_contiguous(at::MemoryFormat::ChannelsLast));
    EXPECT_TRUE(at::equal(result.own(), norm(input, whole)));
    for (const at::Tensor& zeros : {result.above(), result.below()}) {
      EXPECT_EQ(zeros.size(2), 2);
      EXPECT_EQ(zeros.count_nonzero().item<std::int64_t>(), 0);
    }
  }
}

// One for all images, or one for each.
TEST(GroupNorm, NormalisesTheInputPlusAnOffset) {
  for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16}) {
    const RandomWeights weights = norm_weights(kChannels);
    SiteRegistry sites;
    const GroupNorm norm(weights.scope(dtype), kChannels, kGroups, kEpsilon,
                         GroupNorm::Activation::none, 0, sites);
    const at::Tensor input = channels_last(random_tensor(3, {2, kChannels, 25, 7}).to(dtype));
    for (const std::int64_t items : {1, 2}) {
      const at::Tensor offset = random_tensor(4, {items, kChannels}).to(dtype) * 3;
      const at::Tensor sum =
          input.to(at::kDouble) + offset.to(at::kDouble).unsqueeze(2).unsqueeze(3);
      PatchContext whole;
      EXPECT_LT(
          relative_error(norm(input, whole, 0, offset).image, whole_norm(weights, sum, kGroups)),
          dtype == at::kFloat ? kRounding : 5e-3);
    }
  }
}

TEST(GroupNorm, Bfloat16IsWithinItsRounding) {
  const RandomWeights weights = norm_weights(kChannels);
  SiteRegistry sites;
  const GroupNorm norm(weights.scope(at::kBFloat16), kChannels, kGroups, kEpsilon,
                       GroupNorm::Activation::silu, 0, sites);
  const at::Tensor input = random_tensor(2, {2, kChannels, 9, 7}).to(at::kBFloat16);
  PatchContext whole;
  const at::Tensor result = norm(channels_last(input), whole);
  EXPECT_EQ(result.scalar_type(), at::kBFloat16);
  EXPECT_LT(relative_error(result, at::silu(whole_norm(weights, input, kGroups))), 5e-3);
}

TEST(GroupNorm, DoesNotDependOnTheNumberOfThreads) {
  const RandomWeights weights = norm_weights(64);
  SiteRegistry sites;
  const GroupNorm norm(weights.scope(), 64, 32, kEpsilon, GroupNorm::Activation::silu, 0, sites);
  const at::Tensor input = channels_last(random_tensor(3, {3, 64, 67, 45}));
  const int before = at::get_num_threads();
  std::vector<at::Tensor> results;
  for (const int threads : {1, 2, 3}) {
    at::set_num_threads(threads);
    PatchContext whole;
    results.push_back(norm(input, whole));
  }
  at::set_num_threads(before);
  EXPECT_TRUE(at::equal(results[0], results[1]));
  EXPECT_TRUE(at::equal(results[0], results[2]));
}

TEST(GroupNorm, RefusesChannelsThatDoNotDivide) {
  SiteRegistry sites;
  const WeightScope shapes = WeightScope::shapes_only();
  for (const std::int64_t groups : {4, 0, -5}) {
    EXPECT_THROW(GroupNorm(shapes, 10, groups, kEpsilon, GroupNorm::Activation::none, 0, sites),
                 CheckpointError);
  }
}

// [batch, groups, 2] in float64 of a band.
at::Tensor moments_of(const at::Tensor& band) {
  const at::Tensor groups = band.to(at::kDouble).reshape({band.size(0), kGroups, -1});
  return at::stack({groups.mean(-1), (groups * groups).mean(-1)}, -1);
}

// The definition: normalisation with given moments.
at::Tensor normalised(const RandomWeights& weights, const at::Tensor& band,
                      const at::Tensor& moments) {
  const at::Tensor mean = moments.select(-1, 0).unsqueeze(-1);
  const at::Tensor variance = moments.select(-1, 1).unsqueeze(-1) - mean * mean;
  const at::Tensor groups = band.to(at::kDouble).reshape({band.size(0), kGroups, -1});
  const at::Tensor unit = ((groups - mean) / (variance + kEpsilon).sqrt()).reshape(band.sizes());
  return unit * weights.at("weight").to(at::kDouble).view({1, -1, 1, 1}) +
         weights.at("bias").to(at::kDouble).view({1, -1, 1, 1});
}

// latent rows, patches, level.
using SplitParam = std::tuple<std::int64_t, int, int>;

class SplitGroupNorm : public testing::TestWithParam<SplitParam> {
 protected:
  SplitGroupNorm()
      : weights_(norm_weights(kChannels)),
        norm_(weights_.scope(), kChannels, kGroups, kEpsilon, GroupNorm::Activation::none, level(),
              sites_) {
    setup_.patches = std::get<1>(GetParam());
    setup_.row_unit = 2;
    setup_.shape = {std::get<0>(GetParam()), kColumns, 4, 2};
    setup_.steps = 3;
    setup_.parallel.sync_steps = 2;
  }

  static int level() { return std::get<2>(GetParam()); }
  at::Tensor image(std::uint64_t seed) const {
    return random_tensor(seed, {2, kChannels, rows_at_level(setup_.shape.latent_rows, level()),
                                rows_at_level(kColumns, level())}) +
           0.5;
  }
  std::vector<RowRange> bands() const {
    std::vector<RowRange> result;
    for (const RowRange& latent :
         split_rows(setup_.shape.latent_rows, setup_.row_unit, setup_.patches)) {
      result.push_back(band_at_level(latent, level()));
    }
    return result;
  }
  std::vector<at::Tensor> run(const std::vector<at::Tensor>& images) const {
    return run_patches(setup_, sites_, [&](int step, PatchContext& context) {
      const at::Tensor own = band_rows(images[static_cast<std::size_t>(step)], context, level());
      return norm_(channels_last(own), context);
    });
  }
  at::Tensor band_of(const at::Tensor& whole, std::size_t band) const {
    return whole.narrow(2, bands()[band].begin, bands()[band].size());
  }
  // The mean of the bands' moments by rows: those of `others`, but `own` at its place.
  at::Tensor mean_moments(const at::Tensor& others, std::size_t place,
                          const at::Tensor& own) const {
    at::Tensor sum = own * bands()[place].size();
    for (std::size_t i = 0; i < bands().size(); ++i) {
      if (i != place) sum = sum + moments_of(band_of(others, i)) * bands()[i].size();
    }
    return sum / others.size(2);
  }
  // Every band of `now` with the moments that moments_for(band, own moments) gives.
  template <typename MomentsFor>
  at::Tensor expected(const at::Tensor& now, const MomentsFor& moments_for) const {
    std::vector<at::Tensor> parts;
    for (std::size_t i = 0; i < bands().size(); ++i) {
      const at::Tensor own = band_of(now, i);
      parts.push_back(normalised(weights_, own, moments_for(i, moments_of(own))));
    }
    return at::cat(parts, 2);
  }

  RandomWeights weights_;
  SiteRegistry sites_;
  GroupNorm norm_;
  PatchSetup setup_;
};

constexpr GroupNormMode kModes[] = {GroupNormMode::corrected, GroupNormMode::stale,
                                    GroupNormMode::local, GroupNormMode::synchronous};

TEST_P(SplitGroupNorm, SynchronousStepsEqualTheWholeInEveryMode) {
  const std::vector<at::Tensor> images = {image(1), image(2), image(2)};
  for (const GroupNormMode mode : kModes) {
    setup_.parallel.group_norm = mode;
    const std::vector<at::Tensor> results = run(images);
    for (std::size_t step = 0; step < 2; ++step) {
      EXPECT_LT(relative_error(results[step], whole_norm(weights_, images[step], kGroups)),
                kRounding);
    }
    EXPECT_TRUE(mode == GroupNormMode::local || at::equal(results[2], results[1]));
  }
}

TEST_P(SplitGroupNorm, CorrectedIsOwnFreshAndTheChangeToTheGlobal) {
  const at::Tensor before = image(2);
  const at::Tensor now = before + 0.1 * image(3);  // little enough that no guard is met
  const at::Tensor wanted = expected(now, [&](std::size_t i, const at::Tensor& own) {
    const at::Tensor own_stale = moments_of(band_of(before, i));
    return own + (mean_moments(before, i, own_stale) - own_stale);
  });
  EXPECT_LT(relative_error(run({image(1), before, now})[2], wanted), kRounding);
}

TEST_P(SplitGroupNorm, StaleIsTheMeanWithOwnFresh) {
  setup_.parallel.group_norm = GroupNormMode::stale;
  const at::Tensor before = image(2);
  const at::Tensor now = image(3);
  const at::Tensor wanted = expected(
      now, [&](std::size_t i, const at::Tensor& own) { return mean_moments(before, i, own); });
  EXPECT_LT(relative_error(run({image(1), before, now})[2], wanted), kRounding);
}

TEST_P(SplitGroupNorm, LocalAndReachNoneAreOwnOnly) {
  const at::Tensor now = image(3);
  const at::Tensor wanted = expected(now, [&](std::size_t, const at::Tensor& own) { return own; });
  setup_.parallel.group_norm = GroupNormMode::local;
  EXPECT_LT(relative_error(run({image(1), image(2), now})[2], wanted), kRounding);
  for (const GroupNormMode mode : kModes) {
    setup_.parallel = ParallelConfig::naive();
    setup_.parallel.group_norm = mode;
    for (const at::Tensor& result : run({now, now, now})) {
      EXPECT_LT(relative_error(result, wanted), kRounding);
    }
  }
}

TEST_P(SplitGroupNorm, SynchronousModeIsAlwaysTheWhole) {
  setup_.parallel.group_norm = GroupNormMode::synchronous;
  const at::Tensor now = image(3);
  EXPECT_LT(relative_error(run({image(1), image(2), now})[2], whole_norm(weights_, now, kGroups)),
            kRounding);
}

INSTANTIATE_TEST_SUITE_P(Heights, SplitGroupNorm,
                         testing::Combine(testing::Values(14, 16, 17, 23),
                                          testing::Values(1, 2, 3, 4, 5, 7),
                                          testing::Values(0, 1)));

}  // namespace
}  // namespace pcpp
