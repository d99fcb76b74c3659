#include "models/vae_decoder.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/eye.h>
#include <ATen/ops/zeros.h>
#include <c10/core/InferenceMode.h>
#include <gtest/gtest.h>

#include <span>
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

at::Tensor decode(const VaeDecoder& vae, const at::Tensor& latents,
                  const std::stop_token& stop = {}) {
  PatchContext context;
  return vae.decode(latents, context, stop);
}

class VaeDecoderOfFamily : public ::testing::TestWithParam<std::string> {};

TEST_P(VaeDecoderOfFamily, EqualsDiffusers) {
  const c10::InferenceMode inference;
  const VaeDecoder vae = VaeFiles(GetParam()).build<VaeDecoder>();
  const auto tensors = load_references(GetParam() + "_vae.safetensors");
  const at::Tensor image = decode(vae, tensors.at("latents"));
  EXPECT_LE(relative_error(image, tensors.at("image")), kTolerance);
  EXPECT_EQ(vae.latent_channels(), 4);
  EXPECT_EQ(vae.scale(), 8);
  EXPECT_EQ(vae.dtype(), at::kFloat);
}

TEST_P(VaeDecoderOfFamily, BandsAreThoseOfTheWholeImage) {
  const c10::InferenceMode inference;
  const VaeDecoder vae = VaeFiles(GetParam()).build<VaeDecoder>();
  const at::Tensor latents = random_tensor(6, {2, 4, 7, 5});
  const at::Tensor whole = decode(vae, latents);
  for (const std::vector<int>& bands : {std::vector{4, 3}, {1, 5, 1}, {1, 1, 1, 1, 1, 1, 1}}) {
    PatchSetup setup;
    setup.patches = static_cast<int>(bands.size());
    setup.shape = {latents.size(2), latents.size(3), latents.size(1), latents.size(0)};
    setup.parallel.bands = bands;
    setup.parallel.sync_steps = 1;
    const at::Tensor joined =
        run_patches(setup, vae.sites(), [&](int /*step*/, PatchContext& context) {
          return vae.decode(band_rows(latents, context, 0, 1), context);
        })[0];
    EXPECT_LE(relative_error(joined, whole), 1e-5) << bands.size();
  }
}

TEST_P(VaeDecoderOfFamily, LeavesTheEncoderOnDisk) {
  VaeFiles files(GetParam());
  std::erase_if(files.tensors, [](const auto& entry) {
    return entry.first.starts_with("encoder.") || entry.first.starts_with("quant_conv.");
  });
  EXPECT_NO_THROW(files.build<VaeDecoder>());
}

TEST_P(VaeDecoderOfFamily, NamesWeightsThatDoNotFit) {
  VaeFiles missing(GetParam());
  missing.tensors.erase("decoder.up_blocks.3.resnets.0.conv_shortcut.weight");
  testing::expect_error<CheckpointError>([&] { missing.build<VaeDecoder>(); },
                                         {"decoder.up_blocks.3.resnets.0.conv_shortcut.weight"});
  VaeFiles extra(GetParam());
  extra.tensors["encoder.down_blocks.0.resnets.9.conv1.weight"] =
      extra.tensors.at("decoder.conv_in.weight");
  testing::expect_error<CheckpointError>([&] { extra.build<VaeDecoder>(); },
                                         {"encoder.down_blocks.0.resnets.9.conv1.weight"});
  VaeFiles shaped(GetParam());
  shaped.tensors["decoder.conv_out.bias"] = shaped.tensors.at("decoder.conv_in.bias");
  testing::expect_error<CheckpointError>([&] { shaped.build<VaeDecoder>(); },
                                         {"decoder.conv_out.bias"});
}

INSTANTIATE_TEST_SUITE_P(All, VaeDecoderOfFamily, ::testing::Values("sd15", "sd21", "sdxl"),
                         [](const auto& tested) { return tested.param; });

TEST(VaeDecoder, RefusesOptionsByName) {
  for (const auto& [key, value] : std::vector<std::pair<std::string, nlohmann::json>>{
           {"act_fn", "gelu"},
           {"out_channels", 4},
           {"up_block_types",
            {"AttnUpDecoderBlock2D", "UpDecoderBlock2D", "UpDecoderBlock2D", "UpDecoderBlock2D"}},
           {"down_block_types", {"DownEncoderBlock2D"}},
           {"latents_mean", {0.0, 0.0, 0.0, 0.0}},
           {"latents_std", {1.0, 1.0, 1.0, 1.0}},
           {"mid_block_add_attention", false},
           {"norm_num_groups", 0},
           {"block_out_channels", {4, 8, 8, 6}},
           {"scaling_factor", 0.0},
           {"temporal_compression_ratio", 4}}) {
    VaeFiles files("sd15");
    files.config[key] = value;
    SCOPED_TRACE(value.dump());
    testing::expect_error<CheckpointError>([&] { files.build<VaeDecoder>(); }, {key});
  }
}

// An identity in place of post_quant_conv is the model without it, whose shift may be folded in.
TEST(VaeDecoder, CanDoWithoutPostQuantConvolutionAndWithAShift) {
  const c10::InferenceMode inference;
  VaeFiles files("sdxl");
  const at::Tensor identity = at::eye(4).view({4, 4, 1, 1});
  const at::Tensor zeros = at::zeros({4});
  const auto view = [](const at::Tensor& tensor) {
    return TensorView{
        DType::f32, tensor.sizes().vec(),
        std::span(static_cast<const std::byte*>(tensor.const_data_ptr()), tensor.nbytes())};
  };
  files.tensors["post_quant_conv.weight"] = view(identity);
  files.tensors["post_quant_conv.bias"] = view(zeros);
  const at::Tensor latents = random_tensor(5, {1, 4, 3, 2});
  const double scaling = files.config.at("scaling_factor");
  const at::Tensor expected = decode(files.build<VaeDecoder>(), latents + 0.5 * scaling);
  files.tensors.erase("post_quant_conv.weight");
  files.tensors.erase("post_quant_conv.bias");
  files.config["use_post_quant_conv"] = false;
  files.config["shift_factor"] = 0.5;
  EXPECT_LE(relative_error(decode(files.build<VaeDecoder>(), latents), expected), 1e-5);
}

TEST(VaeDecoder, EndsAtTheNextBlockAfterAStop) {
  const c10::InferenceMode inference;
  const VaeDecoder vae = VaeFiles("sd15").build<VaeDecoder>();
  const at::Tensor latents = load_references("sd15_vae.safetensors").at("latents");
  // Two norms of two parts and three convolutions, each with a begin and an end.
  constexpr int kMostMarksOfABlock = 14;
  StoppingTimeline whole(0);
  {
    const WorkLog log(whole);
    decode(vae, latents, whole.token());
  }
  ASSERT_GT(whole.marks(), 10 * kMostMarksOfABlock);
  for (int mark = 1; mark + kMostMarksOfABlock < whole.marks(); mark += 5) {
    StoppingTimeline timeline(mark);
    const WorkLog log(timeline);
    EXPECT_THROW(decode(vae, latents, timeline.token()), Cancelled);
    EXPECT_LE(timeline.marks(), mark + kMostMarksOfABlock);
  }
}

TEST(VaeDecoder, RefusesLatentsOfAnotherModel) {
  EXPECT_THROW(decode(VaeFiles("sd15").build<VaeDecoder>(), at::zeros({1, 3, 4, 4})),
               std::logic_error);
}

}  // namespace
}  // namespace pcpp
