#include "models/control_net_config.h"

#include <gtest/gtest.h>

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

nlohmann::json written(const std::string& net) {
  return read_json_file(control_folder() / net / "config.json");
}

ControlNetConfig read(const nlohmann::json& config) {
  return read_control_net_config(config, "config.json");
}

UNetConfig unet_of(const std::string& family) {
  return read_unet_config(tiny_component(family, "unet").config());
}

TEST(ControlNetConfig, ReadsWhatDiffusersWrites) {
  const ControlNetConfig sd15 = read(written("sd15"));
  EXPECT_EQ(sd15.image_channels, (std::vector<std::int64_t>{4, 8, 8, 16}));
  EXPECT_EQ(sd15.scale(), 8);
  EXPECT_FALSE(sd15.reads_bgr);
  EXPECT_TRUE(read(written("sd15_bgr")).reads_bgr);
  for (const char* family : {"sd15", "sd21", "sdxl"}) {
    const UNetConfig own = read(written(family)).encoder;
    const UNetConfig unet = unet_of(family);
    EXPECT_EQ(own.middle_depths, unet.middle_depths) << family;
    EXPECT_EQ(own.pooled_width(), unet.pooled_width()) << family;
    for (std::size_t level = 0; level < unet.levels.size(); ++level) {
      EXPECT_EQ(own.levels[level].down_depths, unet.levels[level].down_depths) << family;
      EXPECT_EQ(own.levels[level].heads, unet.levels[level].heads) << family;
    }
  }
  const UNetConfig small = read(written("sdxl_small")).encoder;
  EXPECT_EQ(small.middle_depths, std::vector<std::int64_t>());
  for (const UNetLevel& level : small.levels) EXPECT_TRUE(level.down_depths.empty());
}

// As diffusers' ControlNetModel takes them.
TEST(ControlNetConfig, AbsentOptionsHaveTheFormatsDefaults) {
  const ControlNetConfig config = read(nlohmann::json::object());
  EXPECT_EQ(config.image_channels, (std::vector<std::int64_t>{16, 32, 96, 256}));
  EXPECT_FALSE(config.reads_bgr);
  EXPECT_EQ(config.encoder, read_unet_config({nlohmann::json::object(), "config.json"}));
}

TEST(ControlNetConfig, RefusesWhatIsNotSupportedByName) {
  const std::vector<std::pair<std::string, nlohmann::json>> refused = {
      {"_class_name", "ControlNetUnionModel"},
      {"conditioning_channels", 6},
      {"global_pool_conditions", true},
      {"controlnet_conditioning_channel_order", "gbr"},
      {"conditioning_embedding_out_channels", nlohmann::json::array()},
      {"conditioning_embedding_out_channels", std::vector<int>(9, 16)},
      {"conditioning_embedding_out_channels", {16, 0}},
      {"conditioning_embedding_out_channels", {16, 65537}},
      {"mid_block_type", nullptr},
      {"down_block_types", {"ResnetDownsampleBlock2D", "DownBlock2D", "DownBlock2D"}},
      {"down_block_types", {1, 2, 3}},
      {"up_block_types", {"UpBlock2D", "UpBlock2D", "UpBlock2D"}},
      {"time_cond_proj_dim", 256},
      {"reverse_transformer_layers_per_block", 1},
      {"transformer_layers_per_block", -1},
      {"class_embed_type", "timestep"},
      {"num_control_type", 6}};
  for (const auto& [key, value] : refused) {
    nlohmann::json config = written("sdxl");
    config[key] = value;
    testing::expect_error<CheckpointError>([&] { read(config); }, {"config.json", key});
  }
  EXPECT_THROW(read(nlohmann::json::array()), CheckpointError);
}

TEST(ControlNetConfig, IsToldByAFilesWeights) {
  for (const char* net : {"sd15", "sd21", "sdxl", "sdxl_small", "sdxl_mid", "ssd1b", "bk_sdm"}) {
    SCOPED_TRACE(net);
    const std::string name = net;
    const std::string family = name.starts_with("sdxl") ? "sdxl" : name;
    const ControlNetConfig written_down = read(written(net));
    const ControlNetConfig told = control_net_config_of(
        Component::control_net(control_folder() / net).weights().tensors(), net, unet_of(family));
    EXPECT_EQ(told.image_channels, written_down.image_channels);
    EXPECT_EQ(told.encoder.middle_depths, written_down.encoder.middle_depths);
    EXPECT_EQ(told.encoder.in_channels, written_down.encoder.in_channels);
    EXPECT_EQ(told.encoder.text_width, written_down.encoder.text_width);
    EXPECT_EQ(told.encoder.added, written_down.encoder.added);
    EXPECT_EQ(told.encoder.linear_projection, written_down.encoder.linear_projection);
    for (std::size_t level = 0; level < told.encoder.levels.size(); ++level) {
      UNetLevel expected = written_down.encoder.levels[level];
      expected.up_depths.clear();
      EXPECT_EQ(told.encoder.levels[level], expected) << level;
    }
    check_fits(told, unet_of(family), net);
  }
}

TEST(ControlNetConfig, IsHeldAgainstTheUNet) {
  for (const char* net : {"sd15", "sd15_bgr", "sd21", "sdxl"}) {
    const std::string family(net, 4);
    check_fits(read(written(net)), unet_of(family), "it");
  }
  check_fits(read(written("sdxl_small")), unet_of("sdxl"), "it");
  const auto expect_refused = [](const std::string& what, const auto& change) {
    ControlNetConfig control = read(written("sdxl"));
    change(control.encoder);
    testing::expect_error<CheckpointError>(
        [&] { check_fits(control, unet_of("sdxl"), "the file"); },
        {"the file", what, "another model"});
  };
  expect_refused("in_channels is 9, the U-Net's 4", [](auto& c) { c.in_channels = 9; });
  expect_refused("number of levels is 2", [](auto& c) { c.levels.pop_back(); });
  expect_refused("cross_attention_dim is 16", [](auto& c) { c.text_width = 16; });
  expect_refused("pooled text is 21", [](auto& c) { ++c.added->input_width; });
  expect_refused("level 1 of the ControlNet has 2 layers of 8",
                 [](auto& c) { c.levels[1].layers = 2; });
  expect_refused("level 2 of the ControlNet has 1 layers of 8",
                 [](auto& c) { c.levels[2].channels = 8; });
  expect_refused("3 heads, which do not divide", [](auto& c) { c.levels[1].heads = 3; });
  UNetConfig inpainting = unet_of("sd15");
  inpainting.in_channels = 9;
  check_fits(read(written("sd15")), inpainting, "it");
}

}  // namespace
}  // namespace pcpp
