#include "io/model_family.h"

#include <gtest/gtest.h>

#include <cstdint>

#include "pcpp/error.h"
#include "support/errors.h"

namespace pcpp {
namespace {

using testing::expect_error;

// A U-Net that takes so many channels and whose texts are so wide.
SingleFile unet_of(std::int64_t channels, std::int64_t text_width) {
  SingleFile file;
  file.components["unet"] = {{"conv_in.weight", {DType::f16, {320, channels, 3, 3}, {}}},
                             {"down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_k.weight",
                              {DType::f16, {320, text_width}, {}}}};
  return file;
}

std::string prediction_of(std::int64_t text_width,
                          const std::map<std::string, TensorView>& tensors = {}) {
  return family_configs(unet_of(4, text_width), tensors, "F").at("scheduler").at("prediction_type");
}

TEST(ModelFamily, IsToldByTheWidthOfTexts) {
  EXPECT_EQ(prediction_of(768), "epsilon");
  EXPECT_EQ(prediction_of(1024), "v_prediction");
  EXPECT_EQ(prediction_of(2048), "epsilon");
  const auto xl = family_configs(unet_of(4, 2048), {}, "F");
  EXPECT_EQ(xl.at("unet").at("cross_attention_dim"), 2048);
  EXPECT_EQ(xl.at("text_encoder_2").at("hidden_size"), 1280);
  EXPECT_EQ(xl.at("tokenizer_2").at("pad_token"), "!");
  EXPECT_FALSE(family_configs(unet_of(4, 768), {}, "F").contains("text_encoder_2"));
}

TEST(ModelFamily, TakesTheChannelsOfTheFile) {
  EXPECT_EQ(family_configs(unet_of(9, 768), {}, "F").at("unet").at("in_channels"), 9);
  EXPECT_EQ(family_configs(unet_of(4, 768), {}, "F").at("unet").at("in_channels"), 4);
}

TEST(ModelFamily, MarksTellTheScheduler) {
  const TensorView mark{DType::f32, {0}, {}};
  EXPECT_EQ(prediction_of(2048, {{"v_pred", mark}}), "v_prediction");
  const auto plain = family_configs(unet_of(4, 2048), {}, "F").at("scheduler");
  EXPECT_FALSE(plain.contains("rescale_betas_zero_snr"));
  const auto zero = family_configs(unet_of(4, 2048), {{"ztsnr", mark}}, "F").at("scheduler");
  EXPECT_EQ(zero.at("rescale_betas_zero_snr"), true);
  expect_error<CheckpointError>(
      [&] {
        prediction_of(2048, {{"edm_mean", mark}});
      },
      {"F", "EDM's schedulers"});
}

TEST(ModelFamily, RefusesOthers) {
  expect_error<CheckpointError>([&] { prediction_of(1280); }, {"F", "SDXL's refiner"});
  expect_error<CheckpointError>([&] { prediction_of(4096); },
                                {"F", "texts of 4096 values", "name a folder"});
  SingleFile file;
  file.components["unet"] = {{"conv_in.weight", {DType::f16, {320, 4, 3, 3}, {}}}};
  expect_error<CheckpointError>([&] { family_configs(file, {}, "F"); },
                                {"F", "attends to no text"});
}

}  // namespace
}  // namespace pcpp
