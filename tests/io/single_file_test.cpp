#include "io/single_file.h"

#include <gtest/gtest.h>

#include <set>
#include <sstream>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

#include "io/single_files.h"
#include "pcpp/error.h"
#include "support/errors.h"

namespace pcpp {
namespace {

TEST(SingleFile, HoldsWhatDiffusersReads) {
  for (const std::string family : kFamilies) {
    for (const DType dtype : {DType::f32, DType::f16}) {
      const std::vector<Entry> entries = read_entries(family);
      ASSERT_GT(entries.size(), 600U);
      const File file = whole_file(entries, dtype);
      const SingleFile read = file.read();
      std::set<std::pair<std::string, std::string>> expected;
      for (const auto& [name, component, weight, how] : entries) {
        SCOPED_TRACE(family + ": " + name);
        if (how == "passed over") continue;
        expected.emplace(component, weight);
        ASSERT_TRUE(read.components.contains(component));
        ASSERT_TRUE(read.components.at(component).contains(weight)) << weight;
        expect_part_of(file[name], how, read.components.at(component).at(weight));
      }
      for (const auto& [component, weights] : read.components) {
        for (const auto& [weight, view] : weights) {
          EXPECT_TRUE(expected.contains({component, weight})) << component << " " << weight;
        }
      }
    }
  }
}

TEST(SingleFile, CopiesOnlyWhatItTransposes) {
  for (const std::string family : kFamilies) {
    const File file = whole_file(read_entries(family), DType::f16);
    const SingleFile read = file.read();
    std::size_t copies = 0;
    for (const auto& [component, weights] : read.components) {
      for (const auto& [weight, view] : weights) copies += file.owns(view) ? 0 : 1;
    }
    EXPECT_EQ(copies, family == "sdxl" ? 1U : 0U);
    EXPECT_EQ(read.made.size(), copies);
  }
}

TEST(SingleFile, GivesTextEncodersThatLackItTextModel) {
  File file = small_file();
  const std::string name = "encoder.layers.1.mlp.fc1.weight";
  file.add("cond_stage_model.transformer." + name, {2, 3});
  const SingleFile read = file.read();
  EXPECT_EQ(read.components.at("text_encoder").size(), 1U);
  expect_part_of(file["cond_stage_model.transformer." + name], "same",
                 read.components.at("text_encoder").at("text_model." + name));
}

TEST(SingleFile, TakesMatricesForPointwiseConvolutions) {
  File file = small_file();
  file.add("first_stage_model.encoder.mid.attn_1.q.weight", {3, 2});
  const SingleFile read = file.read();
  expect_part_of(file["first_stage_model.encoder.mid.attn_1.q.weight"], "same",
                 read.components.at("vae").at("encoder.mid_block.attentions.0.to_q.weight"));
}

TEST(SingleFile, TakesTheWeightOfALinearProjectionAsItIs) {
  File file = small_file();
  file.add("conditioner.embedders.1.model.text_projection.weight", {3, 2});
  const SingleFile read = file.read();
  expect_part_of(file["conditioner.embedders.1.model.text_projection.weight"], "same",
                 read.components.at("text_encoder_2").at("text_projection.weight"));
}

TEST(SingleFile, TransposesMatricesWithoutElements) {
  File file = small_file();
  file.add("conditioner.embedders.1.model.text_projection", {4096, 0});
  const SingleFile read = file.read();
  EXPECT_EQ(read.components.at("text_encoder_2").at("text_projection.weight").shape,
            (Shape{0, 4096}));
}

TEST(SingleFile, MayHaveOneLevel) {
  File file;
  file.add("model.diffusion_model.input_blocks.2.0.in_layers.0.weight", {3});
  file.add("model.diffusion_model.output_blocks.999.0.in_layers.0.weight", {3});
  const SingleFile read = file.read();
  EXPECT_TRUE(read.components.at("unet").contains("down_blocks.0.resnets.1.norm1.weight"));
  EXPECT_TRUE(read.components.at("unet").contains("up_blocks.0.resnets.999.norm1.weight"));
}

TEST(SingleFile, CountsTheLevelsOfADecoderFromTheLast) {
  File file = small_file();
  for (int level = 0; level < 11; ++level) {
    file.add("first_stage_model.decoder.up." + std::to_string(level) + ".block.2.norm1.bias", {3});
  }
  const SingleFile read = file.read();
  for (int level = 0; level < 11; ++level) {
    expect_part_of(
        file["first_stage_model.decoder.up." + std::to_string(level) + ".block.2.norm1.bias"],
        "same",
        read.components.at("vae").at("decoder.up_blocks." + std::to_string(10 - level) +
                                     ".resnets.2.norm1.bias"));
  }
}

TEST(SingleFile, HoldsMoreThanTheModel) {
  for (const char* name :
       {"alphas_cumprod",
        "v_pred",
        "model_ema.diffusion_modelout2weight",
        "edm_mean",
        "first_stage_model.loss.discriminator.main.0.weight",
        "first_stage_model.model_ema.decay",
        "cond_stage_model.logit_scale",
        "cond_stage_model.transformer.text_projection.weight",
        "cond_stage_model.transformer.visual_projection.weight",
        "cond_stage_model.transformer.vision_model.embeddings.position_ids",
        "cond_stage_model.transformer.logit_scale",
        "conditioner.embedders.0.logit_scale",
        "cond_stage_model.transformer.embeddings.position_ids",
        "cond_stage_model.transformer.text_model.embeddings.position_ids",
        "conditioner.embedders.0.model.text_projection",
        "conditioner.embedders.0.model.transformer.resblocks.23.ln_1.weight",
        "cond_stage_model.model.text_projection",
        "cond_stage_model.model.attn_mask",
        "cond_stage_model.model.transformer.resblocks.23.ln_1.weight",
        "conditioner.embedders.1.model.attn_mask",
        "conditioner.embedders.1.model.logit_scale",
        "conditioner.embedders.1.model.transformer.text_model.embeddings.position_ids"}) {
    File file = small_file();
    file.add(name, {1});
    const SingleFile read = file.read();
    EXPECT_EQ(read.components.size(), 1U) << name;
    EXPECT_EQ(read.components.at("unet").size(), 2U) << name;
  }
}

TEST(SingleFile, WithATextEncoderOfEitherPrefixOfStableDiffusion2HasIt) {
  for (const char* prefix : {"cond_stage_model.model.", "conditioner.embedders.0.model."}) {
    File file = small_file();
    file.add(std::string(prefix) + "transformer.resblocks.22.ln_1.weight", {3});
    EXPECT_TRUE(file.read()
                    .components.at("text_encoder")
                    .contains("text_model.encoder.layers.22.layer_norm1.weight"))
        << prefix;
  }
}

TEST(SingleFile, WithLayer23OfSdxlHoldsIt) {
  File file = small_file();
  file.add("conditioner.embedders.1.model.transformer.resblocks.23.ln_1.weight", {3});
  EXPECT_TRUE(file.read()
                  .components.at("text_encoder_2")
                  .contains("text_model.encoder.layers.23.layer_norm1.weight"));
}

// Endings of names, by the prefixes; the empty one is refused after each.
TEST(SingleFile, IsRefusedForANameThatNoneHas) {
  const std::pair<std::string_view, const char*> names[] = {
      {kUNet,
       "weight .weight double_blocks.0.img_attn.qkv.weight time_embedding.cond_proj.weight "
       "time_embed.1.weight label_emb.weight conv_in.weight out.2.scale out.2 "
       "out.2.weight.weight input_blocks. input_blocks.1 input_blocks.1. input_blocks.1.0 "
       "input_blocks.0.0.op.weight input_blocks.0.0.in_layers.0.weight input_blocks.0.1.weight "
       "input_blocks.x.0.in_layers.0.weight input_blocks.-1.0.in_layers.0.weight "
       "input_blocks.+1.0.in_layers.0.weight input_blocks.01.0.in_layers.0.weight "
       "input_blocks.-0.0.in_layers.0.weight input_blocks.1x.0.in_layers.0.weight "
       "input_blocks.1000.0.in_layers.0.weight input_blocks.2147483647.0.in_layers.0.weight "
       "input_blocks.99999999999999999999.0.in_layers.0.weight "
       "input_blocks.99999999999999999999.0.op.weight input_blocks.1.0.in_layers.1.weight "
       "input_blocks.1.0.norm1.weight input_blocks.1.2.in_layers.0.weight "
       "input_blocks.1.2.norm.weight input_blocks.1.1.in_layers.0.weight "
       "input_blocks.1.1.qkv.weight input_blocks.1.1.transformer_blocks.0.attn3.to_q.weight "
       "input_blocks.1.1.transformer_blocks.99999999999999999999.norm1.weight "
       "input_blocks.1.1.transformer_blocks.norm1.weight "
       "input_blocks.1.99999999999999999999.norm.weight input_blocks.3.0.in_layers.0.weight "
       "input_blocks.3.1.norm.weight input_blocks.3.1.op.weight input_blocks.4.0.op.weight "
       "middle_block.3.norm.weight middle_block.4.in_layers.0.weight "
       "middle_block.0.norm.weight middle_block.1.in_layers.0.weight "
       "middle_block.99999999999999999999.in_layers.0.weight middle_block. "
       "output_blocks.2.0.conv.weight output_blocks.2.3.conv.weight "
       "output_blocks.1.1.conv.weight output_blocks.2.0.op.weight "
       "output_blocks.99999999999999999999.0.in_layers.0.weight"},
      {kVae,
       "conv_in.weight encoder.conv_in encoder.conv_in.gamma encoder.quant_conv.weight "
       "encoder.up.0.block.0.norm1.weight decoder.down.0.block.0.norm1.weight "
       "encoder.down.0.upsample.conv.weight decoder.up.0.downsample.conv.weight "
       "encoder.down.0.attn.0.q.weight encoder.down.0.block.0.conv3.weight "
       "encoder.down.0.block.norm1.weight encoder.down.block.0.norm1.weight "
       "encoder.down.99999999999999999999.block.0.norm1.weight "
       "encoder.down.0.block.99999999999999999999.norm1.weight "
       "decoder.up.99999999999999999999.block.0.norm1.weight "
       "decoder.up.2147483647.block.0.norm1.weight encoder.mid.block_3.norm1.weight "
       "encoder.mid.attn_2.q.weight encoder.mid.attn_1.to_q.weight quantize.weight"},
      {"cond_stage_model.transformer.",
       "text_model.embeddings.weight text_model.embeddings.position_ids.weight "
       "encoder.block.0.layer.0.SelfAttention.q.weight text_model.encoder.layers.0.weight "
       "text_model.encoder.layers.0.mlp.fc3.weight text_model.encoder.layers.0.mlp.fc1.scale "
       "text_model.encoder.layers.99999999999999999999.mlp.fc1.weight "
       "text_model.text_model.final_layer_norm.weight"},
      {"conditioner.embedders.0.transformer.", "text_model.encoder.layers.0.mlp.fc3.weight"},
      {"cond_stage_model.model.",
       "visual.proj token_embedding.bias.bias positional_embedding.weight.weight "
       "ln_final.scale transformer.resblocks.0.attn.in_proj_scale "
       "transformer.resblocks.0.attn.in_proj.weight transformer.resblocks.0.ln_3.weight "
       "0.ln_1.weight transformer.resblocks.0.ln_1.in_proj_weight "
       "transformer.resblocks.x.ln_1.weight "
       "transformer.resblocks.99999999999999999999.ln_1.weight"},
      {"conditioner.embedders.1.model.", "transformer.resblocks.0.ln_3.weight"},
  };
  for (const auto& [prefix, endings] : names) {
    std::istringstream words(endings);
    std::string ending;
    do {
      const std::string name = std::string(prefix) + ending;
      File file = small_file();
      file.add(name, {3, 3});
      SCOPED_TRACE(name);
      testing::expect_error<CheckpointError>(
          [&] { file.read(); },
          {"some.safetensors: the tensor " + name.substr(0, 80), "is none of a", "take"});
    } while (words >> ending);
  }
}

TEST(SingleFile, IsRefusedWhereTwoTensorsBecomeOne) {
  const std::pair<const char*, const char*> pairs[] = {
      {"model.diffusion_model.output_blocks.2.1.conv.weight",
       "model.diffusion_model.output_blocks.2.2.conv.weight"},
      {"cond_stage_model.transformer.text_model.final_layer_norm.weight",
       "conditioner.embedders.0.transformer.text_model.final_layer_norm.weight"},
      {"cond_stage_model.transformer.final_layer_norm.weight",
       "cond_stage_model.transformer.text_model.final_layer_norm.weight"},
      {"cond_stage_model.model.ln_final.weight",
       "cond_stage_model.transformer.text_model.final_layer_norm.weight"},
      {"cond_stage_model.model.transformer.resblocks.0.attn.in_proj_weight",
       "cond_stage_model.transformer.text_model.encoder.layers.0.self_attn.v_proj.weight"},
      {"conditioner.embedders.1.model.text_projection",
       "conditioner.embedders.1.model.text_projection.weight"},
  };
  for (const auto& [first, second] : pairs) {
    File file = small_file();
    file.add(first, {3, 3});
    file.add(second, {3, 3});
    testing::expect_error<CheckpointError>(
        [&] { file.read(); },
        {"some.safetensors: the tensor " + std::string(second).substr(0, 80), "becomes the",
         "as another of its tensors does", "save the file anew"});
  }
}

TEST(SingleFile, IsRefusedForShapesThatCannotBeRead) {
  const std::string block = "conditioner.embedders.1.model.transformer.resblocks.0.attn.";
  const std::string attention = "first_stage_model.decoder.mid.attn_1.";
  const std::tuple<std::string, Shape, const char*> cases[] = {
      {block + "in_proj_weight", {4, 3}, "[4, 3]; as many rows for queries"},
      {block + "in_proj_bias", {5}, "[5]; as many rows for queries"},
      {block + "in_proj_bias", {}, "[]; as many rows for queries"},
      {"conditioner.embedders.1.model.text_projection", {4}, "[4]; a matrix of at most 4096"},
      {"conditioner.embedders.1.model.text_projection",
       {4, 2, 1},
       "[4, 2, 1]; a matrix of at most 4096"},
      {"conditioner.embedders.1.model.text_projection",
       {4097, 1},
       "[4097, 1]; a matrix of at most 4096"},
      {attention + "q.weight", {4, 4, 3, 3}, "[4, 4, 3, 3]; a 1x1 convolution"},
      {attention + "k.weight", {4, 4, 1, 3}, "[4, 4, 1, 3]; a 1x1 convolution"},
      {attention + "v.weight", {4, 4, 3, 1}, "[4, 4, 3, 1]; a 1x1 convolution"},
      {attention + "proj_out.weight", {4, 4, 1, 1, 1}, "[4, 4, 1, 1, 1]; a 1x1 convolution"},
      {attention + "proj_out.weight", {4}, "[4]; a 1x1 convolution"},
  };
  for (const auto& [name, shape, words] : cases) {
    File file = small_file();
    file.add(name, shape);
    testing::expect_error<CheckpointError>(
        [&] { file.read(); },
        {"some.safetensors: the tensor " + name, words, "get the file again"});
  }
}

TEST(SingleFile, IsRefusedWithoutAUNet) {
  File file;
  testing::expect_error<CheckpointError>(
      [&] { file.read(); },
      {"some.safetensors: no tensor begins with model.diffusion_model.", "in one file; take one"});
  file.add("first_stage_model.quant_conv.weight", {3});
  file.add("model_ema.decay", {1});
  testing::expect_error<CheckpointError>([&] { file.read(); }, {"in one file; take one"});
  file.add("lora_unet_conv_in.alpha", {1});
  testing::expect_error<CheckpointError>([&] { file.read(); }, {"but a LoRA"});
}

TEST(SingleFile, IsRefusedInWordsThatFitALine) {
  File file;
  file.add("model.diffusion_model.\n" + std::string(1000, 'x'), {1});
  testing::expect_error<CheckpointError>([&] { file.read(); },
                                         {"model.diffusion_model.\\x0axxx", "..."});
}

}  // namespace
}  // namespace pcpp
