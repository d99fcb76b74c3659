#include "models/unet_config.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "models/tiny_models.h"
#include "models/unet.h"
#include "pcpp/error.h"
#include "support/errors.h"

namespace pcpp {
namespace {

nlohmann::json published(const std::string& family) {
  return read_json_file(models_folder() / "configs" / (family + ".json"));
}

UNetConfig read(const nlohmann::json& config) {
  return read_unet_config(ConfigReader(config, "config.json"));
}

struct Sites {
  std::int64_t attention = 0;
  std::int64_t halo = 0;
  std::int64_t group_norm = 0;
  int condition_slots = 0;
};

Sites count_sites(const UNetConfig& config) {
  const UNet unet(config, WeightScope::shapes_only());
  Sites count;
  for (const Site& site : unet.sites().sites()) {
    if (site.kind == SiteKind::attention) ++count.attention;
    if (site.kind == SiteKind::halo) ++count.halo;
    if (site.kind == SiteKind::group_norm) ++count.group_norm;
  }
  count.condition_slots = unet.sites().condition_slots();
  return count;
}

TEST(UNetConfig, SdxlRegistersTheSitesOfTheMethod) {
  const Sites sites = count_sites(read(published("sdxl")));
  EXPECT_EQ(sites.attention, 70);
  EXPECT_EQ(sites.halo, 39);
  EXPECT_EQ(sites.group_norm, 46);
  EXPECT_EQ(sites.condition_slots, 70 + 1);  // cross-attentions, and the added embedding
}

// 22 ResNet blocks, 16 transformers, three samplers each way, conv_out and conv_norm_out.
TEST(UNetConfig, OlderFamiliesRegisterTheirSites) {
  for (const char* family : {"sd15", "sd21"}) {
    const Sites sites = count_sites(read(published(family)));
    EXPECT_EQ(sites.attention, 16) << family;
    EXPECT_EQ(sites.halo, 2 * 22 + 6 + 1) << family;
    EXPECT_EQ(sites.group_norm, 2 * 22 + 16 + 1) << family;
    EXPECT_EQ(sites.condition_slots, 16) << family;
  }
}

TEST(UNetConfig, SitesLieAtTheLevelOfTheirInput) {
  const UNet unet(read(published("sdxl")), WeightScope::shapes_only());
  EXPECT_EQ(unet.row_unit(), 4);
  const std::vector<Site>& sites = unet.sites().sites();
  const auto level_of = [&](const std::string& name) {
    const auto found = std::find_if(sites.begin(), sites.end(),
                                    [&](const Site& site) { return site.name == name; });
    return found == sites.end() ? -1 : found->level;
  };
  EXPECT_EQ(level_of("down_blocks.0.resnets.0.norm1"), 0);
  EXPECT_EQ(level_of("down_blocks.0.downsamplers.0.conv"), 0);
  EXPECT_EQ(level_of("down_blocks.1.resnets.0.conv1"), 1);
  EXPECT_EQ(level_of("mid_block.attentions.0.transformer_blocks.9.attn1"), 2);
  EXPECT_EQ(level_of("up_blocks.0.resnets.2.conv2"), 2);
  EXPECT_EQ(level_of("up_blocks.0.upsamplers.0.conv"), 1);
  EXPECT_EQ(level_of("up_blocks.2.resnets.0.norm1"), 0);
  EXPECT_EQ(level_of("conv_out"), 0);
  EXPECT_EQ(sites.back().name, "conv_out");
}

TEST(UNetConfig, ReadsThePublishedConfigs) {
  const UNetConfig sd15 = read(published("sd15"));
  EXPECT_EQ(sd15.levels.size(), 4U);
  EXPECT_EQ(sd15.levels[0].heads, 8);  // attention_head_dim is the number of heads
  EXPECT_EQ(sd15.levels[3].channels, 1280);
  EXPECT_TRUE(sd15.levels[3].down_depths.empty());
  EXPECT_TRUE(sd15.levels[3].up_depths.empty());
  EXPECT_EQ(sd15.levels[0].up_depths, (std::vector<std::int64_t>{1, 1, 1}));
  EXPECT_EQ(sd15.text_width, 768);
  EXPECT_EQ(sd15.sample_rows, 64);
  EXPECT_FALSE(sd15.linear_projection);
  EXPECT_FALSE(sd15.added);

  const UNetConfig sd21 = read(published("sd21"));
  EXPECT_EQ(sd21.levels[2].heads, 20);
  EXPECT_EQ(sd21.sample_columns, 96);
  EXPECT_TRUE(sd21.linear_projection);

  const UNetConfig sdxl = read(published("sdxl"));
  EXPECT_EQ(sdxl.levels[2].down_depths, (std::vector<std::int64_t>{10, 10}));
  EXPECT_EQ(sdxl.middle_depths, std::vector<std::int64_t>{10});
  EXPECT_TRUE(sdxl.levels[0].down_depths.empty());
  EXPECT_TRUE(sdxl.levels[0].up_depths.empty());
  ASSERT_TRUE(sdxl.added);
  EXPECT_EQ(sdxl.added->time_width, 256);
  EXPECT_EQ(sdxl.added->input_width, 2816);
}

TEST(UNetConfig, AbsentOptionsHaveTheFormatsDefaults) {
  const UNetConfig config = read(nlohmann::json::object());
  EXPECT_EQ(config.levels.size(), 4U);
  EXPECT_EQ(config.levels[1].channels, 640);
  EXPECT_EQ(config.levels[1].layers, 2);
  EXPECT_EQ(config.levels[1].heads, 8);
  EXPECT_EQ(config.levels[2].down_depths.size(), 2U);
  EXPECT_EQ(config.levels[2].up_depths.size(), 3U);
  EXPECT_TRUE(config.levels[3].up_depths.empty());
  EXPECT_EQ(config.text_width, 1280);
  EXPECT_EQ(config.norm_groups, 32);
  EXPECT_EQ(config.norm_epsilon, 1e-5);
  EXPECT_EQ(config.sample_rows, 0);
  EXPECT_TRUE(config.flip_sin_to_cos);
}

TEST(UNetConfig, TakesBothFormsOfSizesAndLists) {
  nlohmann::json config = published("sd15");
  config["sample_size"] = {48, 80};
  config["layers_per_block"] = {1, 2, 3, 1};
  config["only_cross_attention"] = {false, false, false, false};
  const UNetConfig read_config = read(config);
  EXPECT_EQ(read_config.sample_rows, 48);
  EXPECT_EQ(read_config.sample_columns, 80);
  EXPECT_EQ(read_config.levels[2].layers, 3);
}

TEST(UNetConfig, TakesAnOldFoldersSmallSizeForSixtyFourAsDiffusersDoes) {
  nlohmann::json config = published("sd15");
  config["sample_size"] = 32;
  config["_diffusers_version"] = "0.6.0";
  EXPECT_EQ(read(config).sample_rows, 64);
  EXPECT_EQ(read(config).sample_columns, 64);
  config["_diffusers_version"] = "0.9.0";
  EXPECT_EQ(read(config).sample_rows, 32);
  config["sample_size"] = 96;
  config["_diffusers_version"] = "0.6.0";
  EXPECT_EQ(read(config).sample_rows, 96);
}

// As SSD-1B's.
TEST(UNetConfig, TransformersOfABlockMayDifferAndTheMiddleMayBeOneResnet) {
  nlohmann::json config = published("sdxl");
  config["transformer_layers_per_block"] = nlohmann::json::parse("[1, [2, 1], [4, 3]]");
  config["reverse_transformer_layers_per_block"] =
      nlohmann::json::parse("[[4, 4, 10], [2, 1, 1], 1]");
  config["mid_block_type"] = "UNetMidBlock2D";
  const UNetConfig read_config = read(config);
  EXPECT_EQ(read_config.levels[1].down_depths, (std::vector<std::int64_t>{2, 1}));
  EXPECT_EQ(read_config.levels[2].up_depths, (std::vector<std::int64_t>{4, 4, 10}));
  EXPECT_EQ(read_config.levels[1].up_depths, (std::vector<std::int64_t>{2, 1, 1}));
  EXPECT_EQ(read_config.middle_depths, std::vector<std::int64_t>());
  EXPECT_EQ(count_sites(read_config).attention, 2 + 1 + 4 + 3 + (4 + 4 + 10) + (2 + 1 + 1));
}

// As BK-SDM's smaller models have it.
TEST(UNetConfig, TheMiddleMayBeMissing) {
  nlohmann::json config = published("sd15");
  const std::int64_t with_middle = count_sites(read(config)).attention;
  config["mid_block_type"] = nullptr;
  EXPECT_FALSE(read(config).middle_depths);
  EXPECT_EQ(count_sites(read(config)).attention, with_middle - 1);
}

// diffusers' EMAModel.save_pretrained writes how it averaged into the model's own config.
TEST(UNetConfig, PassesOverWhatAnAverageOfWeightsNotes) {
  nlohmann::json config = published("sd15");
  config.update({{"decay", 0.9999},
                 {"inv_gamma", 1.0},
                 {"min_decay", 0.0},
                 {"optimization_step", 1000},
                 {"power", 0.6667},
                 {"update_after_step", 0},
                 {"use_ema_warmup", false}});
  EXPECT_EQ(read(config).levels.size(), 4U);
}

// 256 of each are allowed by themselves; 4 levels down and up and the middle multiply them.
TEST(UNetConfig, BoundsTheLayersOfAllBlocksTogether) {
  nlohmann::json config = published("sd15");
  config["transformer_layers_per_block"] = 31;
  EXPECT_EQ(read(config).levels[0].down_depths.front(), 31);
  config["transformer_layers_per_block"] = 63;
  testing::expect_error<CheckpointError>(
      [&] { read(config); },
      {"config.json: layers_per_block is 2; with transformer_layers_per_block "
       "it makes 1030 ResNet blocks and transformer layers; at most 1024"});
  config["transformer_layers_per_block"] = 256;
  config["layers_per_block"] = 256;
  testing::expect_error<CheckpointError>([&] { read(config); }, {"layers_per_block is 256"});
}

using Option = std::pair<const char*, nlohmann::json>;
class UnsupportedOption : public ::testing::TestWithParam<Option> {};

TEST_P(UnsupportedOption, IsRefusedByName) {
  const auto& [key, value] = GetParam();
  nlohmann::json config = published("sdxl");
  config[key] = value;
  SCOPED_TRACE(value.dump());
  testing::expect_error<CheckpointError>([&] { read(config); }, {key});
}

INSTANTIATE_TEST_SUITE_P(
    All, UnsupportedOption,
    ::testing::Values(
        Option{"act_fn", "gelu"}, Option{"addition_embed_type", "text"},
        Option{"addition_embed_type", "image"}, Option{"addition_time_embed_dim", 255},
        Option{"attention_head_dim", {5, 7, 20}}, Option{"attention_head_dim", {5, 10}},
        Option{"attention_type", "gated"}, Option{"block_out_channels", {320, 640, 1281}},
        Option{"block_out_channels", {320, 640}}, Option{"center_input_sample", true},
        Option{"class_embed_type", "timestep"}, Option{"class_embeddings_concat", true},
        Option{"conv_in_kernel", 5}, Option{"conv_out_kernel", 1},
        Option{"cross_attention_dim", {768, 768, 768}},
        Option{"cross_attention_dim", std::int64_t{1} << 62}, Option{"in_channels", 1 << 30},
        Option{"projection_class_embeddings_input_dim", std::int64_t{1} << 62},
        Option{"cross_attention_norm", "layer_norm"},
        Option{"down_block_types",
               {"DownBlock2D", "SimpleCrossAttnDownBlock2D", "CrossAttnDownBlock2D"}},
        Option{"downsample_padding", 0}, Option{"dual_cross_attention", true},
        Option{"encoder_hid_dim", 4096}, Option{"encoder_hid_dim_type", "text_proj"},
        Option{"freq_shift", 160}, Option{"in_channels", 0}, Option{"layers_per_block", 0},
        Option{"layers_per_block", 1000000000}, Option{"block_out_channels", {320, 640, 1 << 30}},
        Option{"mid_block_only_cross_attention", true}, Option{"mid_block_scale_factor", 2},
        Option{"mid_block_type", "UNetMidBlock2DSimpleCrossAttn"}, Option{"mid_block_type", 5},
        Option{"norm_eps", 0.0}, Option{"norm_num_groups", nullptr},
        Option{"num_attention_heads", 8}, Option{"num_class_embeds", 10},
        Option{"only_cross_attention", true}, Option{"out_channels", 0},
        Option{"projection_class_embeddings_input_dim", 256},
        Option{"projection_class_embeddings_input_dim", 6 * 256},
        Option{"resnet_out_scale_factor", 1.5}, Option{"resnet_skip_time_act", true},
        Option{"resnet_time_scale_shift", "scale_shift"},
        Option{"reverse_transformer_layers_per_block", {{10, 4}, {2, 1, 1}, 1}},
        Option{"sample_size", "large"}, Option{"sample_size", 0}, Option{"time_cond_proj_dim", 7},
        Option{"time_cond_proj_dim", 2}, Option{"time_cond_proj_dim", 0},
        Option{"time_embedding_act_fn", "silu"}, Option{"time_embedding_dim", 512},
        Option{"time_embedding_type", "fourier"}, Option{"timestep_post_act", "silu"},
        Option{"transformer_layers_per_block", {-1, 2, 0}},
        Option{"transformer_layers_per_block", {1, {2, 2}, 10}},
        Option{"up_block_types", {"CrossAttnUpBlock2D", "UpBlock3D", "UpBlock2D"}},
        Option{"an_option_of_tomorrow", true}),
    [](const auto& tested) { return fmt::format("{}_{}", tested.param.first, tested.index); });

}  // namespace
}  // namespace pcpp
