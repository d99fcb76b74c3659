#include "io/lora_names.h"

#include <gtest/gtest.h>

#include <optional>
#include <string>
#include <utility>

#include "io/json_file.h"

namespace pcpp {
namespace {

struct Case {
  std::string name;
  std::string component;
  std::string weight;
  LoraPart part;
};

TEST(LoraNames, AreReadInEveryKind) {
  const std::string to_q = "down_blocks.0.attentions.1.transformer_blocks.0.attn1.to_q";
  const std::string to_out = "mid_block.attentions.0.transformer_blocks.0.attn2.to_out.0";
  const std::string fc1 = "encoder.layers.3.mlp.fc1";
  const std::string projection = "encoder.layers.3.self_attn.q_proj";
  const Case cases[] = {
      {"lora_unet_down_blocks_0_attentions_1_transformer_blocks_0_attn1_to_q.lora_down.weight",
       "unet", to_q, LoraPart::down},
      {"lora_unet_down_blocks_0_attentions_1_transformer_blocks_0_attn1_to_q.lora_up.weight",
       "unet", to_q, LoraPart::up},
      {"lora_unet_down_blocks_0_attentions_1_transformer_blocks_0_attn1_to_q.alpha", "unet", to_q,
       LoraPart::alpha},
      {"lora_te_text_model_encoder_layers_3_mlp_fc1.lora_down.weight", "text_encoder", fc1,
       LoraPart::down},
      {"lora_te1_text_model_encoder_layers_3_mlp_fc1.alpha", "text_encoder", fc1, LoraPart::alpha},
      {"lora_te2_text_model_encoder_layers_3_self_attn_q_proj.lora_up.weight", "text_encoder_2",
       projection, LoraPart::up},
      {"lora_te2_text_projection.lora_up.weight", "text_encoder_2", "text_projection",
       LoraPart::up},
      {"unet." + to_q + ".lora_A.weight", "unet", to_q, LoraPart::down},
      {"unet." + to_q + ".lora_B.weight", "unet", to_q, LoraPart::up},
      {"text_encoder.text_model." + fc1 + ".lora_A.weight", "text_encoder", fc1, LoraPart::down},
      {"text_encoder_2." + fc1 + ".lora_B.weight", "text_encoder_2", fc1, LoraPart::up},
      {"unet." + to_q + ".lora.down.weight", "unet", to_q, LoraPart::down},
      {"unet." + to_q + ".lora.up.weight", "unet", to_q, LoraPart::up},
      {"text_encoder.text_model." + fc1 + ".lora_linear_layer.down.weight", "text_encoder", fc1,
       LoraPart::down},
      {"text_encoder.text_model." + fc1 + ".lora_linear_layer.up.weight", "text_encoder", fc1,
       LoraPart::up},
      {"text_encoder.text_model.encoder.layers.3.self_attn.to_q_lora.up.weight", "text_encoder",
       projection, LoraPart::up},
      {"unet.mid_block.attentions.0.transformer_blocks.0.attn2.processor.to_out_lora.up.weight",
       "unet", to_out, LoraPart::up},
      {"mid_block.attentions.0.transformer_blocks.0.attn2.processor.to_out_lora.down.weight",
       "unet", to_out, LoraPart::down},
      {"lora_unet_conv_in.lora_mid.weight", "unet", "conv_in", LoraPart::mid},
      {"lora_unet_input_blocks_0_0.hada_t2", "unet", "conv_in", LoraPart::hada_t2},
      {"lora_unet_conv_in.hada_w1_a", "unet", "conv_in", LoraPart::hada_w1_a},
      {"lora_te1_text_model_encoder_layers_3_mlp_fc1.lokr_w2_b", "text_encoder", fc1,
       LoraPart::lokr_w2_b},
      {"lora_te2_text_model_encoder_layers_3_self_attn_q_proj.lokr_w1", "text_encoder_2",
       projection, LoraPart::lokr_w1},
      {"lora_unet_conv_in.dora_scale", "unet", "conv_in", LoraPart::dora_scale},
      {"unet." + to_q + ".lora_magnitude_vector", "unet", to_q, LoraPart::magnitude_vector},
      {"text_encoder.text_model." + fc1 + ".lora_magnitude_vector.weight", "text_encoder", fc1,
       LoraPart::magnitude_vector},
      {"conv_in.lora_A.weight", "unet", "conv_in", LoraPart::down},
      {"unet." + to_q + ".lora_A.default_0.weight", "unet", to_q, LoraPart::down},
      {"text_encoder." + fc1 + ".lora_B.style.weight", "text_encoder", fc1, LoraPart::up},
      {"unet.conv_in.lora_magnitude_vector.default.weight", "unet", "conv_in",
       LoraPart::magnitude_vector},
      {"diffusion_model.middle_block.1.transformer_blocks.0.attn2.to_out.0.lora_up.weight", "unet",
       to_out, LoraPart::up},
      {"text_encoders.clip_l.transformer.text_model." + fc1 + ".lora_down.weight", "text_encoder",
       fc1, LoraPart::down},
      {"text_encoders.clip_h.transformer.text_model." + fc1 + ".alpha", "text_encoder", fc1,
       LoraPart::alpha},
      {"text_encoders.clip_g.transformer.text_model." + projection + ".lora_up.weight",
       "text_encoder_2", projection, LoraPart::up},
      {"time_embedding.linear_1.lora_B.weight", "unet", "time_embedding.linear_1", LoraPart::up},
      {"down_blocks.0.attentions.1.transformer_blocks.0.attn1.processor.to_q_lora.down.weight",
       "unet", to_q, LoraPart::down},
  };
  for (const Case& expected : cases) {
    const std::optional<LoraName> read = parse_lora_name(expected.name);
    ASSERT_TRUE(read.has_value()) << expected.name;
    EXPECT_EQ(read->component, expected.component) << expected.name;
    EXPECT_EQ(read->weight, flat_name(expected.weight)) << expected.name;
    EXPECT_EQ(read->part, expected.part) << expected.name;
  }
}

// tests/reference/lora_make.py
TEST(LoraNames, OfSdxlAreThoseThatDiffusersReads) {
  const nlohmann::json names =
      read_json_file(std::string(PCPP_TEST_DATA) + "/lora/index.json").at("sdxl_names");
  ASSERT_GT(names.size(), 100U);
  for (const auto& [name, weight] : names.items()) {
    const std::optional<LoraName> read = parse_lora_name(name + ".lora_down.weight");
    ASSERT_TRUE(read.has_value()) << name;
    EXPECT_EQ(read->component, "unet");
    EXPECT_EQ(read->weight, flat_name(weight.get<std::string>())) << name;
  }
}

// As BK-SDM's and KOALA's, with one layer a level.
TEST(LoraNames, OfOriginalBlocksAreCountedAsTheUNetHasThem) {
  const std::pair<std::string, std::string> cases[] = {
      {"input_blocks_1_1_proj_in", "down_blocks_0_attentions_0_proj_in"},
      {"input_blocks_2_0_op", "down_blocks_0_downsamplers_0_conv"},
      {"input_blocks_3_0_in_layers_2", "down_blocks_1_resnets_0_conv1"},
      {"output_blocks_1_1_transformer_blocks_0_ff_net_0_proj",
       "up_blocks_0_attentions_1_transformer_blocks_0_ff_net_0_proj"},
      {"output_blocks_1_2_conv", "up_blocks_0_upsamplers_0_conv"},
      {"output_blocks_2_0_skip_connection", "up_blocks_1_resnets_0_conv_shortcut"},
  };
  for (const auto& [original, weight] : cases) {
    const std::optional<LoraName> read = parse_lora_name("lora_unet_" + original + ".alpha", 2);
    ASSERT_TRUE(read.has_value()) << original;
    EXPECT_EQ(read->weight, weight);
  }
}

TEST(LoraNames, OfOtherThingsAreNone) {
  for (const char* name :
       {"", ".alpha", "conv_in.weight", "lora_unet_conv_in.weight", "lora_unet_conv_in.hada_w1",
        "lora_unet_conv_in.lokr_t1", "lora_unet_conv_in.oft_blocks", "lora_unet_conv_in.diff",
        "unet.conv_in.lora_B.bias", "transformer.blocks.0.lora_A.weight",
        "lora_transformer_blocks_0.lora_down.weight"}) {
    EXPECT_FALSE(parse_lora_name(name).has_value()) << name;
  }
}

TEST(LoraNames, OfPartsAreKohyas) {
  EXPECT_EQ(name_of(LoraPart::down), "lora_down.weight");
  EXPECT_EQ(name_of(LoraPart::lokr_t2), "lokr_t2");
  EXPECT_EQ(name_of(LoraPart::magnitude_vector), "lora_magnitude_vector");
}

TEST(LoraNames, OfUnknownBlocksStayAsTheyAre) {
  for (const std::string name :
       {"input_blocks_", "input_blocks_1", "input_blocks_1_", "input_blocks_0_1_in_layers_2",
        "input_blocks_99999999999_0_op", "input_blocks_-1_0_op", "middle_block_3_in_layers_2",
        "middle_block_", "output_blocks_x_0_conv"}) {
    const std::optional<LoraName> read = parse_lora_name("lora_unet_" + name + ".alpha");
    ASSERT_TRUE(read.has_value()) << name;
    EXPECT_EQ(read->weight, name);
  }
}

}  // namespace
}  // namespace pcpp
