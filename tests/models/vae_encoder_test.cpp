#include "models/vae_encoder.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/ones.h>
#include <c10/core/InferenceMode.h>
#include <gtest/gtest.h>

#include <cmath>
#include <stop_token>

#include "models/vae_files.h"
#include "ops/work.h"
#include "pcpp/error.h"
#include "support/errors.h"
#include "support/run_patches.h"
#include "support/tensors.h"

namespace pcpp {
namespace {

constexpr double kTolerance = 1e-4;

at::Tensor encode(const VaeEncoder& vae, const at::Tensor& pixels,
                  const std::stop_token& stop = {}) {
  PatchContext context;
  return vae.encode(pixels, context, stop);
}

class VaeEncoderOfFamily : public ::testing::TestWithParam<std::string> {};

// tests/reference/seeded_make.py
TEST_P(VaeEncoderOfFamily, EqualsDiffusers) {
  const c10::InferenceMode inference;
  const auto vae = VaeFiles(GetParam()).build<VaeEncoder>();
  const auto tensors = load_references("../seeded/" + GetParam() + "_image.safetensors");
  const at::Tensor posterior = encode(vae, tensors.at("image") / 255 * 2 - 1);
  EXPECT_LE(relative_error(posterior, tensors.at("posterior")), kTolerance);
  EXPECT_EQ(vae.latent_channels(), 4);
  EXPECT_EQ(vae.scale(), 8);
  EXPECT_EQ(vae.dtype(), at::kFloat);
}

TEST_P(VaeEncoderOfFamily, BandsAreThoseOfTheWholeImage) {
  const c10::InferenceMode inference;
  const auto vae = VaeFiles(GetParam()).build<VaeEncoder>();
  const at::Tensor pixels = random_tensor(6, {2, 3, 56, 40});
  const at::Tensor whole = encode(vae, pixels);
  for (const std::vector<int>& bands : {std::vector{4, 3}, {1, 5, 1}, {1, 1, 1, 1, 1, 1, 1}}) {
    PatchSetup setup;
    setup.patches = static_cast<int>(bands.size());
    setup.shape = {whole.size(2), whole.size(3), vae.latent_channels(), whole.size(0)};
    setup.parallel.bands = bands;
    setup.parallel.sync_steps = 1;
    const at::Tensor joined =
        run_patches(setup, vae.sites(), [&](int /*step*/, PatchContext& context) {
          return vae.encode(band_rows(pixels, context, -3, 1), context);
        })[0];
    EXPECT_LE(relative_error(joined, whole), 1e-5) << bands.size();
  }
}

TEST_P(VaeEncoderOfFamily, LeavesTheDecoderOnDisk) {
  VaeFiles files(GetParam());
  std::erase_if(files.tensors, [](const auto& entry) {
    return entry.first.starts_with("decoder.") || entry.first.starts_with("post_quant_conv.");
  });
  EXPECT_NO_THROW(files.build<VaeEncoder>());
}

TEST_P(VaeEncoderOfFamily, NamesWeightsThatDoNotFit) {
  const std::string shortcut = "encoder.down_blocks.1.resnets.0.conv_shortcut.weight";
  VaeFiles missing(GetParam());
  missing.tensors.erase(shortcut);
  testing::expect_error<CheckpointError>([&] { missing.build<VaeEncoder>(); }, {shortcut});
  VaeFiles extra(GetParam());
  const std::string ninth = "encoder.down_blocks.0.resnets.9.conv1.weight";
  extra.tensors[ninth] = extra.tensors.at("encoder.conv_in.weight");
  testing::expect_error<CheckpointError>([&] { extra.build<VaeEncoder>(); }, {ninth});
}

INSTANTIATE_TEST_SUITE_P(All, VaeEncoderOfFamily, ::testing::Values("sd15", "sd21", "sdxl"),
                         [](const auto& tested) { return tested.param; });

TEST(VaeEncoder, CanDoWithoutQuantConvolution) {
  const c10::InferenceMode inference;
  VaeFiles files("sd15");
  files.config["use_quant_conv"] = false;
  const at::Tensor pixels = random_tensor(5, {1, 3, 16, 24});
  const at::Tensor posterior = encode(files.build<VaeEncoder>(), pixels);
  EXPECT_EQ(posterior.sizes(), (std::vector<std::int64_t>{1, 8, 2, 3}));
  EXPECT_GT(relative_error(posterior, encode(VaeFiles("sd15").build<VaeEncoder>(), pixels)), 0.01);
}

// Mean 0.3 and deviation e^0.5, of which 1 of 4 is drawn; then those whose logarithms are cut.
TEST(VaeEncoder, DrawsFromThePosterior) {
  VaeFiles files("sd15");
  files.config["scaling_factor"] = 0.5;
  files.config["shift_factor"] = 0.1;
  const auto vae = files.build<VaeEncoder>();
  const at::Tensor mean = at::ones({1, 4, 2, 3}) * 0.3;
  const at::Tensor noise = at::ones({1, 4, 2, 3}) * -0.25;
  const auto drawn = [&](double log_variance) {
    const at::Tensor posterior = at::cat({mean, at::ones({1, 4, 2, 3}) * log_variance}, 1);
    return vae.latents_of(posterior, noise)[0][3][1][2].item<double>();
  };
  EXPECT_NEAR(drawn(1), 0.5 * (0.3 - 0.25 * std::exp(0.5) - 0.1), 1e-6);
  EXPECT_NEAR(drawn(100), 0.5 * (0.3 - 0.25 * std::exp(10) - 0.1), 1e-3);
  EXPECT_NEAR(drawn(-1e30), 0.5 * (0.3 - 0.1), 1e-6);
}

TEST(VaeEncoder, EndsAtTheNextBlockAfterAStop) {
  const c10::InferenceMode inference;
  const auto vae = VaeFiles("sd15").build<VaeEncoder>();
  const at::Tensor pixels = random_tensor(5, {1, 3, 16, 24});
  // Two norms of two parts and three convolutions, each with a begin and an end.
  constexpr int kMostMarksOfABlock = 14;
  StoppingTimeline whole(0);
  {
    const WorkLog log(whole);
    encode(vae, pixels, whole.token());
  }
  ASSERT_GT(whole.marks(), 6 * kMostMarksOfABlock);
  for (int mark = 1; mark + kMostMarksOfABlock < whole.marks(); mark += 5) {
    StoppingTimeline timeline(mark);
    const WorkLog log(timeline);
    EXPECT_THROW(encode(vae, pixels, timeline.token()), Cancelled);
    EXPECT_LE(timeline.marks(), mark + kMostMarksOfABlock);
  }
}

}  // namespace
}  // namespace pcpp
