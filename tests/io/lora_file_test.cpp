#include "io/lora_file.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <initializer_list>
#include <limits>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "io/files.h"
#include "pcpp/error.h"
#include "support/errors.h"

namespace pcpp {
namespace {

const std::vector<float> kValues(64, 0.5F);

TensorView floats(const std::vector<std::int64_t>& shape, const std::vector<float>& of = kValues) {
  std::size_t count = 1;
  for (const std::int64_t extent : shape) count *= static_cast<std::size_t>(extent);
  return {DType::f32, shape, std::as_bytes(std::span(of).first(count))};
}

const std::string kDown = "lora_unet_conv_in.lora_down.weight";
const std::string kUp = "lora_unet_conv_in.lora_up.weight";
const std::string kAlpha = "lora_unet_conv_in.alpha";

std::map<std::string, TensorView> pair() {
  return {{kDown, floats({2, 3})}, {kUp, floats({4, 2})}};
}

class LoraFileTest : public ::testing::Test {
 protected:
  LoraFile open(const std::map<std::string, TensorView>& tensors, double scale = 1,
                const std::string& settings = "") const {
    const std::filesystem::path path = folder_.path() / "style.safetensors";
    std::map<std::string, std::string> metadata;
    if (!settings.empty()) metadata["lora_adapter_metadata"] = settings;
    write_safetensors(path, tensors, metadata);
    return LoraFile::open(path, scale);
  }
  LoraFile open_for(int per_level, const std::map<std::string, TensorView>& tensors) const {
    const std::filesystem::path path = folder_.path() / "style.safetensors";
    write_safetensors(path, tensors);
    return LoraFile::open(path, 1, per_level);
  }
  double scale_of(const std::map<std::string, TensorView>& tensors, double scale,
                  const std::string& settings = "") const {
    const LoraFile file = open(tensors, scale, settings);
    const LoraUpdate& update = file.components().at("unet").at("conv_in");
    EXPECT_EQ(update.scale, scale);
    return update.change_scale;
  }
  void expect_refused(const std::map<std::string, TensorView>& tensors,
                      std::initializer_list<std::string_view> words,
                      const std::string& settings = "") {
    testing::expect_error<CheckpointError>([&] { open(tensors, 1, settings); }, words);
  }

 private:
  testing::TemporaryFolder folder_;
};

TEST_F(LoraFileTest, GivesUpdatesByComponent) {
  const LoraFile file = open({{kDown, floats({2, 3, 3, 3})},
                              {kUp, floats({4, 2, 1, 1})},
                              {"text_encoder.encoder.fc1.lora_A.weight", floats({1, 5})},
                              {"text_encoder.encoder.fc1.lora_B.weight", floats({6, 1})}});
  ASSERT_EQ(file.components().size(), 2U);
  const LoraUpdate& convolution = file.components().at("unet").at("conv_in");
  EXPECT_EQ(convolution.form, LoraForm::lora);
  EXPECT_EQ(convolution.factors.at(0).right.value().shape, (std::vector<std::int64_t>{2, 3, 3, 3}));
  EXPECT_EQ(convolution.factors.at(0).left.shape, (std::vector<std::int64_t>{4, 2, 1, 1}));
  EXPECT_EQ(file.components().at("text_encoder").count("encoder_fc1"), 1U);
}

TEST_F(LoraFileTest, CountsOriginalBlocksAsTheUNetHasThem) {
  const std::string module = "lora_unet_input_blocks_3_1_proj_in";
  const auto weight_for = [&](int per_level) {
    const LoraFile file = open_for(per_level, {{module + ".lora_down.weight", floats({2, 3})},
                                               {module + ".lora_up.weight", floats({4, 2})}});
    return file.components().at("unet").begin()->first;
  };
  EXPECT_EQ(weight_for(2), "down_blocks_1_attentions_0_proj_in");
  EXPECT_EQ(weight_for(4), "down_blocks_0_attentions_2_proj_in");
}

TEST_F(LoraFileTest, ScalesByAlphaOverRank) {
  const std::vector<float> eight = {8.0F};
  std::map<std::string, TensorView> tensors = pair();
  EXPECT_EQ(scale_of(tensors, -0.5), 1);
  EXPECT_EQ(scale_of(tensors, 0.5, R"({"unet.lora_alpha": 6, "text_encoder.lora_alpha": 9})"), 3);
  EXPECT_EQ(scale_of(tensors, 0.5, R"({"unet.lora_alpha": null, "unet.alpha_pattern": {}})"), 1);
  for (const std::vector<std::int64_t>& shape : {std::vector<std::int64_t>{}, {1}}) {
    tensors[kAlpha] = floats(shape, eight);
    EXPECT_EQ(scale_of(tensors, 0.5), 4);
    EXPECT_EQ(scale_of(tensors, 0.5, R"({"unet.lora_alpha": 6})"), 4);
  }
}

TEST_F(LoraFileTest, ScalesEachWeightByItsOwnRank) {
  const LoraFile file = open({{"unet.conv_in.lora_A.weight", floats({2, 3})},
                              {"unet.conv_in.lora_B.weight", floats({4, 2})},
                              {"unet.conv_out.lora_A.weight", floats({4, 3})},
                              {"unet.conv_out.lora_B.weight", floats({5, 4})},
                              {"text_encoder_2.fc1.lora_A.weight", floats({1, 3})},
                              {"text_encoder_2.fc1.lora_B.weight", floats({5, 1})}},
                             1, R"({"unet.lora_alpha": 6, "unet.rank_pattern": {"conv_out": 4},
                                    "text_encoder.lora_alpha": 8, "text_encoder_2.lora_alpha": 9})");
  EXPECT_EQ(file.components().at("unet").at("conv_in").change_scale, 3);
  EXPECT_EQ(file.components().at("unet").at("conv_out").change_scale, 1.5);
  EXPECT_EQ(file.components().at("text_encoder_2").at("fc1").change_scale, 9);
}

TEST_F(LoraFileTest, ReadsAUNetsThatIsSavedAlone) {
  const std::map<std::string, TensorView> tensors = {{"conv_in.lora_A.weight", floats({2, 3})},
                                                     {"conv_in.lora_B.weight", floats({4, 2})}};
  EXPECT_EQ(scale_of(tensors, 1, R"({"lora_alpha": 6})"), 3);
  expect_refused(tensors, {"use_rslora", "true"}, R"({"use_rslora": true})");
}

TEST_F(LoraFileTest, ReadsWholeAlphas) {
  const std::int64_t wide = 8;
  const std::int32_t narrow = 8;
  const std::int16_t narrowest = 8;
  std::map<std::string, TensorView> tensors = pair();
  tensors[kAlpha] = {DType::i64, {}, std::as_bytes(std::span(&wide, 1))};
  EXPECT_EQ(scale_of(tensors, 1), 4);
  tensors[kAlpha] = {DType::i32, {}, std::as_bytes(std::span(&narrow, 1))};
  EXPECT_EQ(scale_of(tensors, 1), 4);
  tensors[kAlpha] = {DType::i16, {}, std::as_bytes(std::span(&narrowest, 1))};
  EXPECT_EQ(scale_of(tensors, 1), 4);
}

TEST_F(LoraFileTest, RefusesWhatIsNoUpdate) {
  expect_refused({}, {"style.safetensors", "no tensors"});
  expect_refused({{kDown, floats({2, 3})}}, {"style.safetensors", "conv_in", "up", "missing"});
  std::map<std::string, TensorView> tensors = pair();
  tensors["unet.conv_in.lora_A.weight"] = floats({2, 3});
  expect_refused(tensors, {"conv_in", "same weight"});
  tensors = pair();
  tensors["lora_unet_conv_in.oft_blocks"] = floats({4, 2, 2});
  expect_refused(tensors, {"oft_blocks", "OFT", "not supported", "fuse"});
  for (const std::string component : {"", "unet."}) {
    expect_refused({{component + "base_model.model.conv_in.lora_A.weight", floats({2, 3})}},
                   {"base_model.model.conv_in", "save_lora_weights"});
  }
  for (const auto& [name, what] :
       {std::pair{"model.diffusion_model.out.2.weight", "a whole model"},
        {"transformer.single_blocks.0.lora_A.weight", "another kind of model"},
        {"emb_params", "a textual inversion"}}) {
    expect_refused({{"alphas_cumprod", floats({3})}, {name, floats({2, 3})}},
                   {"style.safetensors", name, what});
  }
  expect_refused({{kAlpha, floats({})}}, {"changes no weight", "alphas"});
  expect_refused({{"bundle_emb.glow.emb_params", floats({2, 3})}}, {"changes no weight", "words"});
}

// As ComfyUI does.
TEST_F(LoraFileTest, PassesOverBundledWordsAndAlphasOfNothing) {
  std::map<std::string, TensorView> tensors = pair();
  tensors["bundle_emb.glow.emb_params"] = floats({2, 3});
  tensors["lora_unet_conv_out.alpha"] = floats({});
  const LoraFile file = open(tensors);
  ASSERT_EQ(file.components().size(), 1U);
  EXPECT_EQ(file.components().at("unet").size(), 1U);
}

TEST_F(LoraFileTest, RefusesOtherAlphas) {
  std::map<std::string, TensorView> tensors = pair();
  tensors[kAlpha] = floats({2});
  expect_refused(tensors, {"alpha", "[2]"});
  const std::vector<float> infinite = {std::numeric_limits<float>::infinity()};
  tensors[kAlpha] = floats({}, infinite);
  expect_refused(tensors, {"alpha of inf", "smaller scale"});
  expect_refused(pair(), {"alpha of 1e+300", "smaller scale"}, R"({"unet.lora_alpha": 1e300})");
  testing::expect_error<CheckpointError>([&] { open(pair(), 1e39); }, {"scale 1e+39"});
}

TEST_F(LoraFileTest, RefusesSettingsThatItDoesNotKnow) {
  expect_refused(pair(), {"lora_adapter_metadata"}, "{");
  expect_refused(pair(), {"lora_adapter_metadata", "unet.lora_alpha"},
                 R"({"unet.lora_alpha": 4, "unet.lora_alpha": 400})");
  expect_refused(pair(), {"unet.init_lora_weights", "pissa_niter_4", "fuse"},
                 R"({"unet.init_lora_weights": "pissa_niter_4"})");
  expect_refused(pair(), {"lora_adapter_metadata", "JSON"}, "[]");
  expect_refused(pair(), {"unet.alpha_pattern", "conv_in", "fuse"},
                 R"({"unet.alpha_pattern": {"conv_in": 3}})");
  expect_refused(pair(), {"unet.use_rslora", "true"}, R"({"unet.use_rslora": true})");
  expect_refused(pair(), {"unet.lora_alpha", "it must be a number"}, R"({"unet.lora_alpha": "6"})");
}

}  // namespace
}  // namespace pcpp
