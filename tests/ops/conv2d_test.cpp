#include "ops/conv2d.h"

#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/constant_pad_nd.h>
#include <ATen/ops/conv2d.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>
#include <c10/core/InferenceMode.h>
#include <gtest/gtest.h>

#include <optional>
#include <stdexcept>
#include <thread>
#include <tuple>
#include <utility>
#include <vector>

#include "ops/padded_rows.h"
#include "support/random_weights.h"
#include "support/run_patches.h"
#include "support/tensors.h"

namespace pcpp {
namespace {

constexpr std::int64_t kIn = 6;
constexpr std::int64_t kOut = 10;
constexpr std::int64_t kColumns = 8;  // of the latent
constexpr double kRounding = 1e-6;
constexpr double kBfloat16Rounding = 5e-3;

at::Tensor channels_last(const at::Tensor& tensor) {
  return tensor.contiguous(at::MemoryFormat::ChannelsLast);
}

RandomWeights conv_weights() {
  RandomWeights weights(7);
  weights.add("weight", {kOut, kIn, 3, 3});
  weights.add("bias", {kOut});
  return weights;
}

// The convolution by libtorch alone, in float64, with the given rows of padding.
at::Tensor reference(const RandomWeights& weights, const at::Tensor& input, int stride,
                     std::int64_t above, std::int64_t below) {
  return at::conv2d(at::constant_pad_nd(input.to(at::kDouble), {1, 1, above, below}),
                    weights.at("weight").to(at::kDouble), weights.at("bias").to(at::kDouble),
                    {stride, stride});
}

using Way = std::optional<WinogradTile>;

// Twice what was seen; see ops/winograd.h.
double rounding_of(Way way) { return way == WinogradTile::four ? 5e-6 : kRounding; }

void use(Way way, const SiteRegistry& sites) {
  for (const PlacedConvolution& placed : sites.convolutions()) {
    ASSERT_TRUE(placed.kernel->fits_winograd() || !way);
    if (way) placed.kernel->use_winograd(*way);
  }
}

// latent rows, patches, stride, level of the input, way to compute.
using SplitParam = std::tuple<std::int64_t, int, int, int, Way>;

class SplitConv : public testing::TestWithParam<SplitParam> {
 protected:
  SplitConv()
      : weights_(conv_weights()),
        conv_(weights_.scope(), kIn, kOut, std::get<2>(GetParam()), level(), sites_) {
    use(std::get<4>(GetParam()), sites_);
    setup_.patches = std::get<1>(GetParam());
    setup_.row_unit = 4;
    setup_.shape = {std::get<0>(GetParam()), kColumns, 4, 2};
    setup_.steps = 3;
    setup_.parallel.sync_steps = 2;
  }

  static int level() { return std::get<3>(GetParam()); }
  static double rounding() { return rounding_of(std::get<4>(GetParam())); }
  at::Tensor image(std::uint64_t seed) const {
    return random_tensor(seed, {2, kIn, rows_at_level(setup_.shape.latent_rows, level()),
                                rows_at_level(kColumns, level())});
  }
  std::vector<at::Tensor> run(const std::vector<at::Tensor>& images) const {
    return run_patches(setup_, sites_, [&](int step, PatchContext& context) {
      const at::Tensor own = band_rows(images[static_cast<std::size_t>(step)], context, level());
      return conv_(channels_last(own), context);
    });
  }

  RandomWeights weights_;
  SiteRegistry sites_;
  Conv3x3 conv_;
  PatchSetup setup_;
};

TEST_P(SplitConv, SynchronousStepsEqualTheWholeConvolution) {
  const std::vector<at::Tensor> images = {image(1), image(2), image(2)};
  const std::vector<at::Tensor> results = run(images);
  const int stride = std::get<2>(GetParam());
  for (std::size_t step = 0; step < 2; ++step) {
    EXPECT_LT(relative_error(results[step], reference(weights_, images[step], stride, 1, 1)),
              rounding());
  }
}

TEST_P(SplitConv, SteadyEqualsSynchronousWhereNothingMoved) {
  const std::vector<at::Tensor> results = run({image(1), image(2), image(2)});
  EXPECT_TRUE(at::equal(results[2], results[1]));
}

// Every band by itself, between the rows that its neighbours had in the step before.
TEST_P(SplitConv, SteadyReadsTheRowsOfTheStepBefore) {
  const at::Tensor before = image(2);
  const at::Tensor now = image(3);
  const at::Tensor result = run({image(1), before, now})[2];
  const int stride = std::get<2>(GetParam());
  std::vector<at::Tensor> expected;
  for (const RowRange& latent :
       split_rows(setup_.shape.latent_rows, setup_.row_unit, setup_.patches)) {
    const RowRange band = band_at_level(latent, level());
    std::vector<at::Tensor> parts;
    if (band.begin > 0) parts.push_back(before.narrow(2, band.begin - 1, 1));
    parts.push_back(now.narrow(2, band.begin, band.size()));
    const bool below = band.end < now.size(2);
    if (below) parts.push_back(before.narrow(2, band.end, 1));
    at::Tensor rows =
        reference(weights_, at::cat(parts, 2), stride, band.begin > 0 ? 0 : 1, below ? 0 : 1);
    expected.push_back(rows.narrow(2, 0, (band.size() + stride - 1) / stride));
  }
  EXPECT_LT(relative_error(result, at::cat(expected, 2)), rounding());
}

TEST_P(SplitConv, ReachNoneConvolvesEveryBandByItself) {
  setup_.parallel = ParallelConfig::naive();
  const at::Tensor whole = image(4);
  const std::vector<at::Tensor> results = run({whole, whole, whole});
  std::vector<at::Tensor> expected;
  for (const RowRange& latent :
       split_rows(setup_.shape.latent_rows, setup_.row_unit, setup_.patches)) {
    const RowRange band = band_at_level(latent, level());
    expected.push_back(reference(weights_, whole.narrow(2, band.begin, band.size()),
                                 std::get<2>(GetParam()), 1, 1));
  }
  for (const at::Tensor& result : results) {
    EXPECT_LT(relative_error(result, at::cat(expected, 2)), rounding());
  }
}

// What makes the rows may write them where they are read: only the neighbours' are copied.
TEST_P(SplitConv, LaysItsNeighboursRowsAroundTheBands) {
  const at::Tensor whole = image(6);
  run_patches(setup_, sites_, [&](int /*step*/, PatchContext& context) {
    const PaddedRows rows =
        padded(channels_last(band_rows(whole, context, level())), conv_.padding(context));
    at::Tensor result = conv_(rows, context);
    const RowRange band = context.is_whole() ? RowRange{0, whole.size(2)} : context.band(level());
    const bool reads_below = std::get<2>(GetParam()) == 1;
    if (rows.padding > 0) {
      EXPECT_TRUE(at::equal(rows.above(), context.is_first() ? at::zeros_like(rows.above())
                                                             : whole.narrow(2, band.begin - 1, 1)));
      EXPECT_TRUE(at::equal(rows.below(), context.is_last() || !reads_below
                                              ? at::zeros_like(rows.below())
                                              : whole.narrow(2, band.end, 1)));
    }
    EXPECT_EQ(rows.padding,
              std::get<4>(GetParam()) || context.is_whole() || (context.is_first() && !reads_below)
                  ? 0
                  : 1);
    return result;
  });
}

// Heights that divide evenly, unevenly, and with a last band that is ragged at every level.
INSTANTIATE_TEST_SUITE_P(Heights, SplitConv,
                         testing::Combine(testing::Values(28, 32, 30, 25),
                                          testing::Values(1, 2, 3, 4, 5, 7), testing::Values(1, 2),
                                          testing::Values(0, 1), testing::Values(std::nullopt)));
INSTANTIATE_TEST_SUITE_P(Winograd, SplitConv,
                         testing::Combine(testing::Values(32, 30, 25), testing::Values(1, 2, 5, 7),
                                          testing::Values(1), testing::Values(0, 1),
                                          testing::Values(WinogradTile::two, WinogradTile::four)));

class WholeConv : public testing::TestWithParam<std::tuple<int, std::int64_t, std::int64_t>> {};

TEST_P(WholeConv, EqualsLibtorch) {
  const auto& [stride, rows, columns] = GetParam();
  const RandomWeights weights = conv_weights();
  SiteRegistry sites;
  const Conv3x3 conv(weights.scope(), kIn, kOut, stride, 0, sites);
  const at::Tensor input = random_tensor(5, {2, kIn, rows, columns});
  PatchContext whole;
  const at::Tensor expected = reference(weights, input, stride, 1, 1);
  for (const at::Tensor& layout : {input, channels_last(input)}) {
    const at::Tensor result = conv(layout, whole);
    EXPECT_LT(relative_error(result, expected), kRounding);
    EXPECT_TRUE(result.is_contiguous(at::MemoryFormat::ChannelsLast));
  }
}

INSTANTIATE_TEST_SUITE_P(Sizes, WholeConv,
                         testing::Combine(testing::Values(1, 2), testing::Values(1, 2, 7, 16),
                                          testing::Values(1, 5, 16)));

enum class Arithmetic { libtorch, onednn, winograd };

// What is added to the convolution.
class ConvSums : public testing::TestWithParam<std::tuple<Arithmetic, at::ScalarType, int>> {
 protected:
  ConvSums() {
    at::globalContext().setUserEnabledMkldnn(std::get<0>(GetParam()) == Arithmetic::onednn);
  }
  ~ConvSums() override { at::globalContext().setUserEnabledMkldnn(true); }

  void check() const {
    const auto& [arithmetic, dtype, patches] = GetParam();
    const Way way =
        arithmetic == Arithmetic::winograd ? std::optional(WinogradTile::four) : std::nullopt;
    const double bound = dtype == at::kFloat ? rounding_of(way) : kBfloat16Rounding;
    const RandomWeights weights = conv_weights();
    SiteRegistry sites;
    const Conv3x3 conv(weights.scope(dtype), kIn, kOut, 1, 0, sites);
    use(way, sites);
    const at::Tensor image = random_tensor(5, {2, kIn, 12, kColumns});
    const at::Tensor base = random_tensor(6, {2, kOut, 12, kColumns});
    PatchSetup setup;
    setup.patches = patches;
    setup.shape = {12, kColumns, 4, 2,
                   dtype == at::kFloat ? DataType::float32 : DataType::bfloat16};
    const auto band = [&](const at::Tensor& whole, const PatchContext& context) {
      return channels_last(band_rows(whole, context, 0).to(dtype));
    };
    const at::Tensor expected = reference(weights, image, 1, 1, 1) + base;
    for (const Addend use : {Addend::kept, Addend::overwritten}) {
      const at::Tensor summed = run_patches(setup, sites, [&](int, PatchContext& context) {
        const at::Tensor addend = band(base, context).clone();
        at::Tensor sum =
            conv.plus(addend, use, padded(band(image, context), conv.padding(context)), context);
        EXPECT_TRUE(use == Addend::overwritten || at::equal(addend, band(base, context)));
        EXPECT_TRUE(sum.is_contiguous(at::MemoryFormat::ChannelsLast));
        return sum;
      })[0];
      EXPECT_LT(relative_error(summed, expected), bound);
    }
  }
};

TEST_P(ConvSums, AreThoseOfTheConvolutionAndWhatIsAdded) { check(); }

INSTANTIATE_TEST_SUITE_P(Kinds, ConvSums,
                         testing::Combine(testing::Values(Arithmetic::libtorch, Arithmetic::onednn),
                                          testing::Values(at::kFloat, at::kBFloat16),
                                          testing::Values(1, 3)));
INSTANTIATE_TEST_SUITE_P(Winograd, ConvSums,
                         testing::Combine(testing::Values(Arithmetic::winograd),
                                          testing::Values(at::kFloat, at::kBFloat16),
                                          testing::Values(1, 3)));

TEST(Conv3x3, Bfloat16IsWithinItsRounding) {
  const RandomWeights weights = conv_weights();
  SiteRegistry sites;
  const Conv3x3 conv(weights.scope(at::kBFloat16), kIn, kOut, 1, 0, sites);
  const at::Tensor input = random_tensor(6, {2, kIn, 9, 12});
  PatchContext whole;
  const at::Tensor result = conv(channels_last(input.to(at::kBFloat16)), whole);
  EXPECT_EQ(result.scalar_type(), at::kBFloat16);
  EXPECT_LT(relative_error(result, reference(weights, input, 1, 1, 1)), kBfloat16Rounding);
}

class SharedConv : public testing::TestWithParam<at::ScalarType> {};

// oneDNN lays 192 channels out in another way for images of 8 columns than for wider ones.
TEST_P(SharedConv, GivesTheSameBitsWhateverItServedBefore) {
  constexpr std::int64_t kChannels = 192;
  RandomWeights weights(9);
  weights.add("weight", {kChannels, kChannels, 3, 3});
  weights.add("bias", {kChannels});
  SiteRegistry sites;
  const auto make = [&] {
    return Conv3x3(weights.scope(GetParam()), kChannels, kChannels, 1, 0, sites);
  };
  const Conv3x3 shared = make();
  std::vector<at::Tensor> inputs;
  std::vector<at::Tensor> expected;
  for (const auto& [rows, columns] : {std::pair{3, 8}, {3, 16}, {30, 8}, {5, 24}, {1, 16}}) {
    const at::Tensor image = random_tensor(10, {1, kChannels, rows, columns});
    inputs.push_back(channels_last(image.to(GetParam())));
    PatchContext whole;
    expected.push_back(make()(inputs.back(), whole));
    EXPECT_LT(relative_error(expected.back(), reference(weights, image, 1, 1, 1)),
              GetParam() == at::kFloat ? kRounding : kBfloat16Rounding);
  }
  const auto serve = [&](std::size_t first) {
    const c10::InferenceMode inference;
    at::set_num_threads(1);
    PatchContext whole;
    for (std::size_t i = 0; i < 2 * inputs.size(); ++i) {
      const std::size_t image = (first + i) % inputs.size();
      EXPECT_TRUE(at::equal(shared(inputs[image], whole), expected[image])) << image;
    }
  };
  std::vector<std::jthread> threads;
  for (std::size_t first = 0; first < inputs.size(); ++first) threads.emplace_back(serve, first);
}

INSTANTIATE_TEST_SUITE_P(Types, SharedConv, testing::Values(at::kFloat, at::kBFloat16));

TEST(PlaceRows, RefusesAPlaceOfAnotherShapeTypeOrLayout) {
  const at::Tensor source = at::zeros({2, 3, 4}).fill_(1);
  const at::Tensor room = at::zeros({2, 5, 4});
  place_rows({{room.narrow(1, 1, 3), source}});
  EXPECT_TRUE(at::equal(room.narrow(1, 1, 3), source));
  EXPECT_EQ(room.sum().item<float>(), source.sum().item<float>());
  EXPECT_THROW(place_rows({{room, source}}), std::logic_error);
  EXPECT_THROW(place_rows({{at::zeros({2, 3, 4}, at::kInt), source}}), std::logic_error);
  EXPECT_THROW(place_rows({{at::zeros({2, 4, 3}).transpose(1, 2), source}}), std::logic_error);
}

TEST(Conv3x3, RegistersTheRowsThatItReads) {
  SiteRegistry sites;
  const WeightScope shapes = WeightScope::shapes_only().scope("down").scope(1);
  const Conv3x3 first(shapes.scope("conv1"), 320, 640, 1, 1, sites);
  const Conv3x3 second(shapes.scope("conv2"), 640, 640, 2, 2, sites);
  ASSERT_EQ(sites.sites().size(), 2U);
  EXPECT_EQ(sites.sites()[0].name, "down.1.conv1");
  EXPECT_EQ(sites.sites()[0].kind, SiteKind::halo);
  EXPECT_EQ(sites.sites()[0].level, 1);
  EXPECT_EQ(sites.sites()[0].width, 320);
  EXPECT_EQ(sites.sites()[0].rows_above, 1);
  EXPECT_EQ(sites.sites()[0].rows_below, 1);
  EXPECT_EQ(sites.sites()[1].rows_above, 1);
  EXPECT_EQ(sites.sites()[1].rows_below, 0);
  const DownConv3x3 third(shapes.scope("conv3"), 640, 640, -1, sites);
  EXPECT_EQ(sites.sites()[2].level, -1);
  EXPECT_EQ(sites.sites()[2].rows_above, 0);
  EXPECT_EQ(sites.sites()[2].rows_below, 1);
}

// latent rows, patches.
class SplitDownConv : public testing::TestWithParam<std::pair<std::int64_t, int>> {};

TEST_P(SplitDownConv, EqualsTheWholeConvolutionPaddedBelowAndToTheRight) {
  constexpr int kLevel = -1;
  const auto [rows, patches] = GetParam();
  const RandomWeights weights = conv_weights();
  SiteRegistry sites;
  const DownConv3x3 conv(weights.scope(), kIn, kOut, kLevel, sites);
  PatchSetup setup;
  setup.patches = patches;
  setup.shape = {rows, kColumns, 4, 2};
  setup.steps = 2;
  setup.parallel.sync_steps = 2;
  const std::vector<at::Tensor> images = {random_tensor(1, {2, kIn, 2 * rows, 2 * kColumns}),
                                          random_tensor(2, {2, kIn, 2 * rows, 2 * kColumns})};
  const std::vector<at::Tensor> results =
      run_patches(setup, sites, [&](int step, PatchContext& context) {
        const at::Tensor& image = images[static_cast<std::size_t>(step)];
        return conv(channels_last(band_rows(image, context, kLevel)), context);
      });
  for (std::size_t step = 0; step < images.size(); ++step) {
    const at::Tensor expected = at::conv2d(
        at::constant_pad_nd(images[step].to(at::kDouble), {0, 1, 0, 1}),
        weights.at("weight").to(at::kDouble), weights.at("bias").to(at::kDouble), {2, 2});
    EXPECT_LT(relative_error(results[step], expected), kRounding);
  }
}

INSTANTIATE_TEST_SUITE_P(Heights, SplitDownConv,
                         testing::Values(std::pair{3, 1}, std::pair{5, 2}, std::pair{7, 3},
                                         std::pair{4, 4}));

TEST(ConvIn, TakesTheHaloThatIsThereAndPadsTheRest) {
  const RandomWeights weights = conv_weights();
  const ConvIn conv(weights.scope(), kIn, kOut);
  const at::Tensor input = random_tensor(8, {2, kIn, 6, 7});
  for (const bool above : {false, true}) {
    for (const bool below : {false, true}) {
      const at::Tensor expected = reference(weights, input, 1, above ? 0 : 1, below ? 0 : 1);
      EXPECT_LT(relative_error(conv(input, above, below), expected), kRounding);
    }
  }
}

}  // namespace
}  // namespace pcpp
