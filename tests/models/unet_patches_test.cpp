// The U-Net over several patches beside the whole one.
#include <ATen/ops/cat.h>
#include <ATen/ops/constant_pad_nd.h>
#include <ATen/ops/equal.h>
#include <c10/core/InferenceMode.h>
#include <gtest/gtest.h>

#include <optional>
#include <string>
#include <tuple>
#include <vector>

#include "models/tiny_models.h"
#include "models/unet.h"
#include "ops/conv2d.h"
#include "support/run_patches.h"
#include "support/tensors.h"

namespace pcpp {
namespace {

// Of every way to convolve and every vector level, the 2-norm of the difference.
constexpr double kRounding = 1e-5;
constexpr double kBfloat16Rounding = 0.1;  // over other inputs 0.02 to 0.09
constexpr double kTimestep = 601;

// What is drawn, whole.
struct Inputs {
  at::Tensor latents;
  at::Tensor text;
  std::optional<AddedConditions> added;
};

Inputs make_inputs(const UNet& unet, std::int64_t rows, std::int64_t columns, std::uint64_t seed) {
  constexpr std::int64_t kImages = 2;
  Inputs inputs{random_tensor(seed, {kImages, 4, rows, columns}),
                random_tensor(2, {kImages, 7, unet.config().text_width}), std::nullopt};
  if (unet.config().added) {
    inputs.added = {random_tensor(3, {kImages, 20}), random_tensor(4, {kImages, 6}) * 64};
  }
  return inputs;
}

PatchSetup make_setup(const UNet& unet, const at::Tensor& latents, int patches) {
  PatchSetup setup;
  setup.patches = patches;
  setup.row_unit = unet.row_unit();
  setup.shape = {latents.size(2), latents.size(3), latents.size(1), latents.size(0)};
  setup.parallel.sync_steps = 1;
  return setup;
}

at::Tensor run_whole(const UNet& unet, const Inputs& inputs) {
  const c10::InferenceMode inference;
  PatchContext context(unet.sites().condition_slots());
  return unet(inputs.latents, timestep(kTimestep), inputs.text, inputs.added, context);
}

// One step for each of `inputs`; all have the first one's text.
std::vector<at::Tensor> run_split(const UNet& unet, const PatchSetup& setup,
                                  const std::vector<Inputs>& inputs) {
  PatchSetup steps = setup;
  steps.steps = static_cast<int>(inputs.size());
  return run_patches(steps, unet.sites(), [&](int step, PatchContext& context) {
    const Inputs& now = inputs[static_cast<std::size_t>(step)];
    return unet(band_rows(now.latents, context, 0, 1), timestep(kTimestep), now.text, now.added,
                context);
  });
}

struct Split {
  int patches;
  std::int64_t units;           // of rows that every level keeps whole
  std::int64_t missing_rows;    // of the last unit
  std::vector<int> bands = {};  // units of each; empty: as equal as possible
};

using Way = std::optional<WinogradTile>;  // of its convolutions

UNet unet_with(const std::string& family, Way way, at::ScalarType dtype) {
  UNet unet = tiny_unet(family, dtype);
  for (const PlacedConvolution& placed : unet.sites().convolutions()) {
    if (way && placed.kernel->fits_winograd()) placed.kernel->use_winograd(*way);
  }
  return unet;
}

Inputs in_bfloat16(Inputs inputs) {
  inputs.latents = inputs.latents.to(at::kBFloat16);
  inputs.text = inputs.text.to(at::kBFloat16);
  if (inputs.added) inputs.added->text_embeds = inputs.added->text_embeds.to(at::kBFloat16);
  return inputs;
}

class SplitUNet : public ::testing::TestWithParam<std::tuple<std::string, Split, Way>> {
 protected:
  const std::string& family() const { return std::get<0>(GetParam()); }
  Way way() const { return std::get<2>(GetParam()); }
  const Split& split() const { return std::get<1>(GetParam()); }
  Inputs inputs(std::uint64_t seed) const {
    return make_inputs(unet_, split().units * unet_.row_unit() - split().missing_rows, 7, seed);
  }
  PatchSetup setup(const Inputs& inputs) const {
    PatchSetup setup = make_setup(unet_, inputs.latents, split().patches);
    setup.parallel.bands = bands();
    return setup;
  }
  std::vector<int> bands() const {
    std::vector<int> rows;
    for (const int units : split().bands)
      rows.push_back(units * static_cast<int>(unet_.row_unit()));
    if (!rows.empty()) rows.back() -= static_cast<int>(split().missing_rows);
    return rows;
  }

  UNet unet_ = unet_with(family(), way(), at::kFloat);
};

TEST_P(SplitUNet, SynchronousPatchesEqualOne) {
  const Inputs drawn = inputs(1);
  const at::Tensor image = run_split(unet_, setup(drawn), {drawn})[0];
  EXPECT_LE(relative_error(image, run_whole(unet_, drawn)), kRounding);
}

TEST_P(SplitUNet, SteadyEqualsSynchronousWhereNothingMoved) {
  const Inputs drawn = inputs(1);
  PatchSetup all = setup(drawn);
  all.parallel.reach = Reach::all;
  for (const GroupNormMode mode : {GroupNormMode::corrected, GroupNormMode::stale}) {
    all.parallel.group_norm = mode;
    const std::vector<at::Tensor> steps = run_split(unet_, all, {drawn, drawn, drawn});
    EXPECT_LE(relative_error(steps[1], steps[0]), kRounding);
    EXPECT_LE(relative_error(steps[2], steps[0]), kRounding);
  }
}

TEST_P(SplitUNet, ReachNoneEqualsIndependentRuns) {
  const Inputs drawn = inputs(1);
  PatchSetup none = setup(drawn);
  none.parallel = ParallelConfig::naive();
  none.parallel.bands = bands();
  const auto steps = run_patches(none, unet_.sites(), [&](int, PatchContext& context) {
    // Zeros in place of the fresh halo rows of conv_in.
    const std::int64_t above = context.is_first() ? 0 : 1;
    const std::int64_t below = context.is_last() ? 0 : 1;
    const at::Tensor band =
        at::constant_pad_nd(context.is_whole() ? drawn.latents : band_rows(drawn.latents, context),
                            {0, 0, above, below});
    return unet_(band, timestep(kTimestep), drawn.text, drawn.added, context);
  });
  std::vector<at::Tensor> alone_bands;
  const Topology topology(split().patches, Guidance::batched, 1, drawn.latents.size(2),
                          unet_.row_unit(), bands());
  for (const RowRange& band : topology.bands()) {
    Inputs alone = drawn;
    alone.latents = drawn.latents.narrow(2, band.begin, band.size());
    alone_bands.push_back(run_whole(unet_, alone));
  }
  EXPECT_LE(relative_error(steps[0], at::cat(alone_bands, 2)), kRounding);
}

class Bfloat16UNet : public SplitUNet {};

TEST_P(Bfloat16UNet, PatchesDifferByItsRounding) {
  const UNet coarse = unet_with(family(), way(), at::kBFloat16);
  const Inputs drawn = inputs(1);
  PatchSetup patches = setup(drawn);
  patches.shape.dtype = DataType::bfloat16;
  const at::Tensor image = run_split(coarse, patches, {in_bfloat16(drawn)})[0];
  EXPECT_LE(relative_error(image, run_whole(unet_, drawn)), kBfloat16Rounding);
}

std::string name_of(const ::testing::TestParamInfo<SplitUNet::ParamType>& tested) {
  const auto& [family, split, way] = tested.param;
  return family + "_" + std::to_string(split.patches) + "_of_" + std::to_string(split.units) +
         "_units_less_" + std::to_string(split.missing_rows) +
         (split.bands.empty() ? "" : "_uneven") +
         (way ? *way == WinogradTile::two ? "_tiles_of_two" : "_tiles_of_four" : "");
}

const Split kUneven{3, 6, 1, {1, 3, 2}};

INSTANTIATE_TEST_SUITE_P(
    All, SplitUNet,
    ::testing::Combine(::testing::Values("sd15", "sdxl"),
                       ::testing::Values(Split{1, 2, 1}, Split{2, 2, 0}, Split{2, 3, 1},
                                         Split{3, 4, 3}, Split{4, 6, 2}, Split{5, 5, 1},
                                         Split{7, 8, 0}, kUneven, Split{2, 4, 0, {3, 1}}),
                       ::testing::Values(std::nullopt)),
    name_of);

INSTANTIATE_TEST_SUITE_P(Other, SplitUNet,
                         ::testing::Combine(::testing::Values("sd21"), ::testing::Values(kUneven),
                                            ::testing::Values(std::nullopt)),
                         name_of);

INSTANTIATE_TEST_SUITE_P(All, Bfloat16UNet,
                         ::testing::Combine(::testing::Values("sd15", "sd21", "sdxl"),
                                            ::testing::Values(kUneven),
                                            ::testing::Values(std::nullopt)),
                         name_of);

INSTANTIATE_TEST_SUITE_P(
    Winograd, SplitUNet,
    ::testing::Combine(::testing::Values("sd15", "sdxl"),
                       ::testing::Values(Split{2, 3, 1}, Split{5, 5, 1}, kUneven),
                       ::testing::Values(WinogradTile::two, WinogradTile::four)),
    name_of);

INSTANTIATE_TEST_SUITE_P(
    Winograd, Bfloat16UNet,
    ::testing::Combine(::testing::Values("sd15", "sdxl"), ::testing::Values(kUneven),
                       ::testing::Values(WinogradTile::two, WinogradTile::four)),
    name_of);

class WinogradUNet : public ::testing::TestWithParam<std::tuple<std::string, WinogradTile>> {};

TEST_P(WinogradUNet, DiffersByRounding) {
  const auto& [family, tile] = GetParam();
  const UNet unet = unet_with(family, tile, at::kFloat);
  const Inputs drawn = make_inputs(unet, 3 * unet.row_unit() - 1, 7, 1);
  const at::Tensor direct = run_whole(tiny_unet(family), drawn);
  EXPECT_LE(relative_error(run_whole(unet, drawn), direct), kRounding);
}

INSTANTIATE_TEST_SUITE_P(All, WinogradUNet,
                         ::testing::Combine(::testing::Values("sd15", "sdxl"),
                                            ::testing::Values(WinogradTile::two,
                                                              WinogradTile::four)));

class UNetMethods : public ::testing::TestWithParam<std::string> {};

TEST_P(UNetMethods, WithTwoPatchesPartialOneEqualsReachAll) {
  const UNet unet = tiny_unet(GetParam());
  std::vector<Inputs> moving;
  for (std::uint64_t seed = 10; seed < 13; ++seed) {
    moving.push_back(make_inputs(unet, 3 * unet.row_unit(), 6, seed));
  }
  PatchSetup setup = make_setup(unet, moving[0].latents, 2);
  setup.parallel = ParallelConfig::pcpp(1.0);
  setup.parallel.sync_steps = 1;
  const std::vector<at::Tensor> adjacent = run_split(unet, setup, moving);
  setup.parallel.reach = Reach::all;
  const std::vector<at::Tensor> all = run_split(unet, setup, moving);
  for (std::size_t step = 0; step < moving.size(); ++step) {
    EXPECT_TRUE(at::equal(adjacent[step], all[step])) << step;
  }
  // A steady step is no synchronous one where the image moves, and the partial counts.
  EXPECT_GT(relative_error(all[2], run_whole(unet, moving[2])), 1e-3);
  setup.parallel = ParallelConfig::pcpp(0.3);
  setup.parallel.sync_steps = 1;
  EXPECT_GT(relative_error(run_split(unet, setup, moving)[2], all[2]), 1e-4);
}

INSTANTIATE_TEST_SUITE_P(All, UNetMethods, ::testing::Values("sd15", "sd21", "sdxl"),
                         [](const auto& tested) { return tested.param; });

}  // namespace
}  // namespace pcpp
