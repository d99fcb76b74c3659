#include "models/unet.h"

#include <ATen/ops/cat.h>
#include <ATen/ops/full.h>
#include <ATen/ops/zeros.h>
#include <c10/core/InferenceMode.h>
#include <gtest/gtest.h>

#include <span>

#include "models/tiny_models.h"
#include "pcpp/error.h"
#include "support/errors.h"
#include "support/tensors.h"

namespace pcpp {
namespace {

constexpr double kTolerance = 2e-5;

// The tensors of a tiny U-Net's files, to be changed before it is built.
class UNetFiles {
 public:
  explicit UNetFiles(const std::string& family)
      : component_(tiny_component(family, "unet")),
        weights_(component_.weights()),
        tensors(weights_.tensors()) {}

  UNet build() const {
    return UNet(read_unet_config(component_.config()),
                WeightScope(tensors, "the file", at::kFloat));
  }

 private:
  Component component_;
  Weights weights_;

 public:
  std::map<std::string, TensorView> tensors;
};

class UNetOfFamily : public ::testing::TestWithParam<std::string> {};

TEST_P(UNetOfFamily, EqualsDiffusers) {
  const c10::InferenceMode inference;
  const UNet unet = tiny_unet(GetParam());
  int cases = 0;
  for (const nlohmann::json& entry : reference_cases("unet")) {
    if (entry.at("family") != GetParam()) continue;
    ++cases;
    const auto tensors = load_references(entry.at("file"));
    const auto tensor = [&](const char* name) {
      return tensors.at(entry.at("name").get<std::string>() + "." + name);
    };
    std::optional<AddedConditions> added;
    if (unet.config().added) added = {tensor("text_embeds"), tensor("time_ids")};
    PatchContext context(unet.sites().condition_slots());
    const at::Tensor output =
        unet(tensor("latents"), timestep(entry.at("timestep")), tensor("text"), added, context);
    EXPECT_LE(relative_error(output, tensor("output")), kTolerance) << entry;
  }
  EXPECT_EQ(cases, 3);
}

// Needed for the step loop: a guided batch is two halves that know nothing of each other.
TEST_P(UNetOfFamily, TreatsEachItemOfABatchAlone) {
  const c10::InferenceMode inference;
  const UNet unet = tiny_unet(GetParam());
  const at::Tensor latents = random_tensor(1, {2, 4, 8, 16});
  const at::Tensor text = random_tensor(2, {2, 5, unet.config().text_width});
  const auto run = [&](const at::Tensor& image, const at::Tensor& states, std::int64_t first) {
    std::optional<AddedConditions> added;
    if (unet.config().added) {
      added = {random_tensor(3, {2, 20}).narrow(0, first, image.size(0)),
               random_tensor(4, {2, 6}).narrow(0, first, image.size(0)) * 100};
    }
    PatchContext context(unet.sites().condition_slots());
    return unet(image, timestep(700), states, added, context);
  };
  const at::Tensor both = run(latents, text, 0);
  const at::Tensor one = run(latents.narrow(0, 0, 1), text.narrow(0, 0, 1), 0);
  const at::Tensor two = run(latents.narrow(0, 1, 1), text.narrow(0, 1, 1), 1);
  EXPECT_LE(relative_error(both, at::cat({one, two})), 1e-5);
}

TEST_P(UNetOfFamily, ComputesInBfloat16) {
  const c10::InferenceMode inference;
  const UNet exact = tiny_unet(GetParam());
  const UNet coarse = tiny_unet(GetParam(), at::kBFloat16);
  const auto run = [&](const UNet& unet, at::ScalarType dtype) {
    std::optional<AddedConditions> added;
    if (unet.config().added) {
      added = {random_tensor(3, {1, 20}).to(dtype), at::full({1, 6}, 128.0)};
    }
    PatchContext context(unet.sites().condition_slots());
    return unet(random_tensor(1, {1, 4, 16, 16}).to(dtype), timestep(700),
                random_tensor(2, {1, 9, unet.config().text_width}).to(dtype), added, context);
  };
  const at::Tensor output = run(coarse, at::kBFloat16);
  EXPECT_EQ(output.scalar_type(), at::kBFloat16);
  EXPECT_LE(relative_error(output, run(exact, at::kFloat)), 0.1);
}

TEST_P(UNetOfFamily, NamesAMissingWeight) {
  UNetFiles files(GetParam());
  const std::string name = "down_blocks.0.resnets.0.time_emb_proj.weight";
  ASSERT_EQ(files.tensors.erase(name), 1U);
  testing::expect_error<CheckpointError>([&] { files.build(); }, {name});
}

TEST_P(UNetOfFamily, NamesAnExtraWeight) {
  UNetFiles files(GetParam());
  files.tensors["mid_block.adapter.weight"] = files.tensors.at("conv_in.bias");
  testing::expect_error<CheckpointError>([&] { files.build(); }, {"mid_block.adapter.weight"});
}

TEST_P(UNetOfFamily, NamesAWronglyShapedWeight) {
  UNetFiles files(GetParam());
  files.tensors["up_blocks.0.resnets.1.conv1.weight"] = files.tensors.at("conv_in.weight");
  testing::expect_error<CheckpointError>([&] { files.build(); },
                                         {"up_blocks.0.resnets.1.conv1.weight"});
}

TEST_P(UNetOfFamily, RefusesInputsOfAnotherModel) {
  const UNet unet = tiny_unet(GetParam());
  std::optional<AddedConditions> added;
  if (unet.config().added) added = {at::zeros({1, 20}), at::zeros({1, 6})};
  const at::Tensor latents = at::zeros({1, 4, 8, 8});
  const at::Tensor text = at::zeros({1, 5, unet.config().text_width});
  PatchContext context(unet.sites().condition_slots());
  EXPECT_THROW(unet(at::zeros({1, 3, 8, 8}), timestep(1), text, added, context), std::logic_error);
  EXPECT_THROW(unet(latents, timestep(1), at::zeros({1, 5, 7}), added, context), std::logic_error);
  EXPECT_THROW(unet(latents, timestep(1), text.unsqueeze(3), added, context), std::logic_error);
  EXPECT_THROW(unet(latents.unsqueeze(4), timestep(1), text, added, context), std::logic_error);
  EXPECT_THROW(unet(latents, at::zeros({2}), text, added, context), std::logic_error);
  std::optional<AddedConditions> other;
  if (!added) other = {at::zeros({1, 20}), at::zeros({1, 6})};
  EXPECT_THROW(unet(latents, timestep(1), text, other, context), std::logic_error);
  if (!added) return;
  other = {at::zeros({1, 21}), at::zeros({1, 6})};
  EXPECT_THROW(unet(latents, timestep(1), text, other, context), std::logic_error);
}

INSTANTIATE_TEST_SUITE_P(All, UNetOfFamily,
                         ::testing::Values("sd15", "sd21", "sdxl", "ssd1b", "bk_sdm"),
                         [](const auto& tested) { return tested.param; });

}  // namespace
}  // namespace pcpp
