#include "io/model_family.h"

#include <gtest/gtest.h>

#include <array>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <tuple>

#include "io/family_files.h"
#include "pcpp/error.h"
#include "support/errors.h"

namespace pcpp {
namespace {

using testing::expect_error;
using testing::family_file;
using Configs = std::map<std::string, nlohmann::json>;

const TensorView kMark{DType::f32, {0}, {}};

Configs configs_of(std::int64_t text_width, const std::map<std::string, TensorView>& tensors = {},
                   std::int64_t channels = 4) {
  return family_configs(family_file(channels, text_width), tensors, "F");
}

TEST(ModelFamily, IsToldByTheWidthOfTexts) {
  EXPECT_EQ(configs_of(768).at("unet").at("cross_attention_dim"), 768);
  EXPECT_EQ(configs_of(1024).at("unet").at("cross_attention_dim"), 1024);
  EXPECT_EQ(configs_of(2048).at("unet").at("cross_attention_dim"), 2048);
  EXPECT_FALSE(configs_of(768).contains("text_encoder_2"));
  EXPECT_FALSE(configs_of(768).contains("unet_tensors"));
}

// What no shape tells.
TEST(ModelFamily, HasWhatItsModelsWerePublishedWith) {
  struct Published {
    std::int64_t text_width;
    double scaling_factor;
    const char* activation;  // of the last text encoder
    int heads;
    int layers;
    const char* pad_token;  // likewise
    const char* scheduler;
  };
  for (const Published& published :
       {Published{768, 0.18215, "quick_gelu", 12, 12, "<|endoftext|>", "DDIMScheduler"},
        {1024, 0.18215, "gelu", 16, 23, "!", "DDIMScheduler"},
        {2048, 0.13025, "gelu", 20, 32, "!", "EulerDiscreteScheduler"}}) {
    SCOPED_TRACE(published.text_width);
    const Configs configs = configs_of(published.text_width);
    const bool is_xl = configs.contains("text_encoder_2");
    const nlohmann::json& text = configs.at(is_xl ? "text_encoder_2" : "text_encoder");
    EXPECT_EQ(configs.at("vae").at("scaling_factor"), published.scaling_factor);
    EXPECT_EQ(text.at("hidden_act"), published.activation);
    EXPECT_EQ(text.at("num_attention_heads"), published.heads);
    EXPECT_EQ(text.at("num_hidden_layers"), published.layers);
    EXPECT_EQ(configs.at(is_xl ? "tokenizer_2" : "tokenizer").at("pad_token"), published.pad_token);
    const nlohmann::json& scheduler = configs.at("scheduler");
    EXPECT_EQ(scheduler.at("_class_name"), published.scheduler);
    EXPECT_EQ(scheduler.at("beta_start"), 0.00085);
    EXPECT_EQ(scheduler.at("beta_end"), 0.012);
    EXPECT_EQ(scheduler.at("beta_schedule"), "scaled_linear");
    EXPECT_EQ(scheduler.at("steps_offset"), 1);
    EXPECT_EQ(scheduler.at("prediction_type"), "epsilon");
    if (is_xl) {
      EXPECT_EQ(configs.at("tokenizer").at("pad_token"), "<|endoftext|>");
      EXPECT_EQ(configs.at("text_encoder"), configs_of(768).at("text_encoder"));
      EXPECT_EQ(scheduler.at("timestep_spacing"), "leading");
    } else {
      EXPECT_EQ(scheduler.at("clip_sample"), false);
      EXPECT_EQ(scheduler.at("set_alpha_to_one"), false);
    }
  }
}

TEST(ModelFamily, TakesTheChannelsOfTheFile) {
  for (const std::int64_t width : {768, 1024, 2048}) {
    EXPECT_EQ(configs_of(width, {}, 9).at("unet").at("in_channels"), 9);
    EXPECT_EQ(configs_of(width, {}, 4).at("unet").at("in_channels"), 4);
  }
}

// As ComfyUI tells them: by the standard deviation of a bias, which is 0.1 or 0.08 here.
TEST(ModelFamily, OfStableDiffusion2PredictsVelocityWhereABiasLiesWide) {
  for (const auto& [width, channels, bias, predicted, size] :
       {std::tuple{1024, 4, 0.1F, "v_prediction", 96},
        {1024, 4, 0.08F, "epsilon", 64},
        {1024, 9, 0.1F, "epsilon", 64},
        {768, 4, 0.1F, "epsilon", 64}}) {
    const std::array<float, 4> values = {3 - bias, 3 + bias, 3 + bias, 3 - bias};
    SingleFile file = family_file(channels, width);
    file.components["unet"].erase("filling.2");
    file.components["unet"]["up_blocks.3.attentions.2.transformer_blocks.0.norm1.bias"] = {
        DType::f32, {4}, std::as_bytes(std::span(values))};
    const Configs configs = family_configs(file, {}, "F");
    EXPECT_EQ(configs.at("scheduler").at("prediction_type"), predicted)
        << width << channels << bias;
    EXPECT_EQ(configs.at("unet").at("sample_size"), size) << width << channels << bias;
  }
}

TEST(ModelFamily, MarksTellTheScheduler) {
  EXPECT_EQ(configs_of(2048, {{"v_pred", kMark}}).at("scheduler").at("prediction_type"),
            "v_prediction");
  EXPECT_EQ(configs_of(2048, {{"ztsnr", kMark}}), configs_of(2048));
  EXPECT_EQ(configs_of(768, {{"v_pred", kMark}}), configs_of(768));
  const Configs both = configs_of(2048, {{"v_pred", kMark}, {"ztsnr", kMark}});
  EXPECT_EQ(both.at("scheduler").at("rescale_betas_zero_snr"), true);
  EXPECT_EQ(both.at("scheduler").at("timestep_spacing"), "trailing");
  for (const char* mark : {"edm_mean", "edm_vpred.sigma_max"}) {
    expect_error<CheckpointError>(
        [&] {
          configs_of(2048, {{mark, kMark}});
        },
        {"F", "EDM's schedulers"});
  }
}

TEST(ModelFamily, RefusesOthers) {
  expect_error<CheckpointError>([&] { configs_of(1280); }, {"F", "SDXL's refiner"});
  expect_error<CheckpointError>([&] { configs_of(4096); },
                                {"F", "texts of 4096 values", "name a folder"});
  SingleFile file = family_file(4, 768);
  file.components["unet"].erase("filling.2");
  expect_error<CheckpointError>([&] { family_configs(file, {}, "F"); },
                                {"F", "685 tensors, and its family's 686", "name a folder"});
  file.components["unet"] = {{"conv_in.weight", {DType::f16, {320, 4, 3, 3}, {}}}};
  expect_error<CheckpointError>([&] { family_configs(file, {}, "F"); },
                                {"F", "attends to no text"});
}

}  // namespace
}  // namespace pcpp
