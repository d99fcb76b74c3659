#include "io/checkpoint.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "io/files.h"
#include "pcpp/error.h"
#include "support/errors.h"

namespace pcpp {
namespace {

using testing::expect_error;
using testing::TemporaryFolder;

class CheckpointTest : public ::testing::Test {
 protected:
  // Writes a file of one-element float tensors, all with the given value.
  void write_weights(const std::string& name, const std::vector<std::string>& tensors,
                     float value = 1) {
    const std::filesystem::path path = folder_.path() / name;
    std::filesystem::create_directories(path.parent_path());
    std::map<std::string, TensorView> views;
    for (const std::string& tensor : tensors) {
      views[tensor] = {DType::f32, {1}, std::as_bytes(std::span(&value, 1))};
    }
    write_safetensors(path, views);
  }

  Weights open_unet(const std::optional<std::string>& variant = std::nullopt) {
    return Weights::open(folder_.path() / "unet", variant);
  }

  static float value_of(const Weights& weights, const std::string& name) {
    float value = 0;
    to_float(weights.tensors().at(name), name, {&value, 1});
    return value;
  }

  void expect_unet_refused(std::initializer_list<std::string_view> parts,
                           const std::optional<std::string>& variant = std::nullopt) {
    expect_error<CheckpointError>([&] { open_unet(variant); }, parts);
  }

  TemporaryFolder folder_;
};

TEST_F(CheckpointTest, FindsComponentsAndWhatTheIndexSays) {
  folder_.write("model_index.json", R"({"_class_name": "StableDiffusionXLPipeline",
      "force_zeros_for_empty_prompt": true, "requires_aesthetics_score": null,
      "unet": ["diffusers", "UNet2DConditionModel"], "safety_checker": [null, null],
      "image_encoder": null, "vae": ["diffusers", "AutoencoderKL"], "odd": 3})");
  folder_.write("unet/config.json", R"({"sample_size": 64})");
  folder_.write("safety_checker/config.json", "{}");
  const Checkpoint checkpoint = Checkpoint::open(folder_.path());
  EXPECT_TRUE(checkpoint.has("unet"));
  EXPECT_FALSE(checkpoint.has("safety_checker"));
  EXPECT_FALSE(checkpoint.has("image_encoder"));
  EXPECT_FALSE(checkpoint.has("vae"));
  EXPECT_EQ(checkpoint.pipeline_class(), "StableDiffusionXLPipeline");
  EXPECT_TRUE(checkpoint.flag("force_zeros_for_empty_prompt", false));
  EXPECT_FALSE(checkpoint.flag("requires_aesthetics_score", false));
  EXPECT_TRUE(checkpoint.flag("none", true));
  EXPECT_EQ(checkpoint.component("unet").config().integer("sample_size"), 64);
  expect_error<CheckpointError>([&] { checkpoint.component("vae"); }, {"vae", "missing"});
  expect_error<CheckpointError>([&] { (void)checkpoint.flag("odd", true); }, {"odd is 3"});
  expect_error<CheckpointError>(
      [&] { (void)checkpoint.component("unet").config("scheduler_config.json"); },
      {"scheduler_config.json is missing"});
}

TEST_F(CheckpointTest, NeedsNoIndexWhereThereIsAUnet) {
  write_weights("unet/diffusion_pytorch_model.safetensors", {"w"});
  const Checkpoint checkpoint = Checkpoint::open(folder_.path());
  EXPECT_TRUE(checkpoint.has("unet"));
  EXPECT_EQ(checkpoint.pipeline_class(), "");
  EXPECT_EQ(checkpoint.component("unet").weights().tensors().size(), 1U);
  expect_error<CheckpointError>([&] { (void)checkpoint.component("unet").config(); },
                                {"config.json is missing"});
}

TEST_F(CheckpointTest, RefusesWhatIsNoModelFolder) {
  expect_error<CheckpointError>([&] { Checkpoint::open(folder_.path() / "none"); },
                                {"no folder and no file", "none"});
  expect_error<CheckpointError>([&] { Checkpoint::open("/dev/null"); },
                                {"/dev/null", "neither a folder nor a file"});
  expect_error<CheckpointError>([&] { Checkpoint::open(folder_.path()); },
                                {"model_index.json", "unet"});
  const auto file = folder_.write("model.safetensors", "x");
  expect_error<CheckpointError>([&] { Checkpoint::open(file); },
                                {"model.safetensors", "too few for a safetensors file"});
  for (const char* name : {"model.ckpt", "model.pt", "model.pth", "pytorch_model.bin"}) {
    const auto pickled = folder_.write(name, "PK\x03\x04 and more");
    expect_error<CheckpointError>([&] { Checkpoint::open(pickled); }, {name, "pickled"});
  }
  const auto gguf = folder_.write("model.gguf", "GGUF\x03 and more");
  expect_error<CheckpointError>([&] { Checkpoint::open(gguf); }, {"model.gguf", "GGUF"});
  folder_.write("model_index.json", "[]");
  expect_error<CheckpointError>([&] { Checkpoint::open(folder_.path()); },
                                {"model_index.json", "not a JSON object"});
}

// As many U-Net tensors as Stable Diffusion 1.x has, of which two tell what it is.
TEST_F(CheckpointTest, ASingleFileHasItsFamilysTokenizerAndScheduler) {
  const std::vector<float> zeros(std::size_t{320} * 4 * 9);
  std::map<std::string, TensorView> views;
  const auto add = [&](const std::string& name, const std::vector<std::int64_t>& shape) {
    std::size_t elements = 1;
    for (const std::int64_t extent : shape) elements *= static_cast<std::size_t>(extent);
    views["model.diffusion_model." + name] = {DType::f32, shape,
                                              std::as_bytes(std::span(zeros).first(elements))};
  };
  add("input_blocks.0.0.weight", {320, 4, 3, 3});
  add("middle_block.1.transformer_blocks.0.attn2.to_k.weight", {1, 768});
  for (int i = 0; i < 684; ++i) {
    add(fmt::format("middle_block.1.transformer_blocks.{}.norm1.bias", i), {1});
  }
  const std::filesystem::path file = folder_.path() / "model.safetensors";
  write_safetensors(file, views);
  const Checkpoint checkpoint = Checkpoint::open(file);
  EXPECT_TRUE(checkpoint.has("unet"));
  EXPECT_FALSE(checkpoint.has("vae"));
  EXPECT_EQ(checkpoint.component("unet").weights().tensors().size(), 686U);
  EXPECT_EQ(checkpoint.component("unet").place(), file.string() + " (unet)");
  const auto ids = checkpoint.component("tokenizer").tokenizer().encode("a photo of a cat").ids;
  EXPECT_EQ(std::vector(ids.begin(), ids.begin() + 8),
            (std::vector<std::int64_t>{49406, 320, 1125, 539, 320, 2368, 49407, 49407}));
  EXPECT_EQ(checkpoint.component("scheduler").config_object("x").at("_class_name"),
            "DDIMScheduler");
  expect_error<CheckpointError>([&] { checkpoint.component("vae"); },
                                {file.string(), "no vae", "take a file with all parts"});
  write_weights("vae.safetensors", {"decoder.mid_block.w"});
  const Checkpoint whole = Checkpoint::open(file, {.vae = folder_.path() / "vae.safetensors"});
  EXPECT_TRUE(whole.has("vae"));
  EXPECT_EQ(whole.component("vae").config().number("scaling_factor"), 0.18215);
  EXPECT_EQ(whole.component("vae").weights().tensors().size(), 1U);
  expect_error<CheckpointError>([&] { Checkpoint::open(file, {.configs = file}); },
                                {file.string(), "not a folder"});
}

// What the file says of itself counts more than what a folder says of another.
TEST_F(CheckpointTest, MarksOfASingleFileTellTheSchedulerOfOtherConfigsToo) {
  const std::vector<float> zeros(2048);
  const auto values = std::as_bytes(std::span(zeros));
  std::map<std::string, TensorView> views = {
      {"model.diffusion_model.middle_block.1.transformer_blocks.0.attn2.to_k.weight",
       {DType::f32, {1, 2048}, values}}};
  const std::filesystem::path file = folder_.path() / "model.safetensors";
  folder_.write("configs/model_index.json", "{}");
  folder_.write("configs/scheduler/scheduler_config.json",
                R"({"_class_name": "EulerDiscreteScheduler", "prediction_type": "epsilon"})");
  const auto scheduler = [&] {
    write_safetensors(file, views);
    const Checkpoint checkpoint = Checkpoint::open(file, {.configs = folder_.path() / "configs"});
    return checkpoint.component("scheduler").config_object("scheduler_config.json");
  };
  EXPECT_EQ(scheduler().at("prediction_type"), "epsilon");
  views["v_pred"] = {DType::f32, {0}, {}};
  EXPECT_EQ(scheduler().at("prediction_type"), "v_prediction");
  EXPECT_EQ(scheduler().at("_class_name"), "EulerDiscreteScheduler");
  EXPECT_EQ(Checkpoint::open(file, {.configs = folder_.path() / "configs"})
                .component("scheduler")
                .place(),
            (folder_.path() / "configs" / "scheduler").string());
  EXPECT_FALSE(scheduler().contains("rescale_betas_zero_snr"));
  views["ztsnr"] = views["v_pred"];
  EXPECT_EQ(scheduler().at("rescale_betas_zero_snr"), true);
  EXPECT_EQ(scheduler().at("timestep_spacing"), "trailing");
  views["edm_mean"] = views["v_pred"];
  expect_error<CheckpointError>([&] { scheduler(); }, {"model.safetensors", "EDM's schedulers"});
}

TEST_F(CheckpointTest, TakesAnotherVaeInThePlaceOfItsOwn) {
  write_weights("model/unet/model.safetensors", {"w"});
  const std::filesystem::path model = folder_.path() / "model";
  write_weights("vae/diffusion_pytorch_model.safetensors", {"decoder.mid_block.w"}, 2);
  write_weights("vae/diffusion_pytorch_model.fp16.safetensors", {"decoder.mid_block.w"}, 3);
  folder_.write("vae/config.json", R"({"scaling_factor": 4})");
  const CheckpointOptions in_folder{.vae = folder_.path() / "vae"};
  const Checkpoint other = Checkpoint::open(model, in_folder);
  EXPECT_TRUE(other.has("vae"));
  EXPECT_EQ(value_of(other.component("vae").weights(), "decoder.mid_block.w"), 2);
  EXPECT_EQ(other.component("vae").config().integer("scaling_factor"), 4);
  write_weights("model/unet/model.fp16.safetensors", {"w"});
  const CheckpointOptions in_half{.variant = "fp16", .vae = folder_.path() / "vae"};
  EXPECT_EQ(
      value_of(Checkpoint::open(model, in_half).component("vae").weights(), "decoder.mid_block.w"),
      3);
}

TEST_F(CheckpointTest, AVaesFileHasTheConfigOfTheOneWhosePlaceItTakes) {
  write_weights("model/unet/model.safetensors", {"w"});
  write_weights("vae.safetensors", {"decoder.mid.block_1.norm1.weight"}, 2);
  const std::filesystem::path model = folder_.path() / "model";
  const CheckpointOptions options{.vae = folder_.path() / "vae.safetensors"};
  expect_error<CheckpointError>([&] { Checkpoint::open(model, options); },
                                {"vae.safetensors holds weights alone", "has no VAE whose config"});
  folder_.write("model/vae/config.json", R"({"scaling_factor": 5})");
  const Component vae = Checkpoint::open(model, options).component("vae");
  EXPECT_EQ(vae.place(), options.vae->string());
  EXPECT_EQ(vae.config().integer("scaling_factor"), 5);
  EXPECT_EQ(value_of(vae.weights(), "decoder.mid_block.resnets.0.norm1.weight"), 2);
}

TEST_F(CheckpointTest, RefusesWhatIsNoVae) {
  write_weights("unet/model.safetensors", {"w"});
  folder_.write("model_index.json", "{}");
  const auto open_with = [&](const std::string& vae) {
    return [this, vae] { Checkpoint::open(folder_.path(), {.vae = folder_.path() / vae}); };
  };
  expect_error<CheckpointError>(open_with("none"), {"no folder and no file", "none"});
  expect_error<CheckpointError>(open_with(""), {"a whole model, and no VAE", "the folder of one"});
  expect_error<CheckpointError>(open_with("unet/model.safetensors"), {"holds no VAE"});
  folder_.write("vae.pt", "\x80\x02} and more");
  expect_error<CheckpointError>(open_with("vae.pt"), {"vae.pt", "pickled"});
}

// Of ways to be unreadable this one stops root as well.
TEST_F(CheckpointTest, WhatCannotBeReadIsNotCalledMissing) {
  const auto circle = [&](const std::string& name) {
    std::filesystem::create_symlink(folder_.path() / name, folder_.path() / name);
    return (folder_.path() / name).string();
  };
  const std::string model = circle("model");
  expect_error<CheckpointError>([&] { Checkpoint::open(model); },
                                {"cannot read " + model + ": Too many levels", "fetch it again"});
  const std::string index = circle("model_index.json");
  expect_error<CheckpointError>([&] { Checkpoint::open(folder_.path()); },
                                {"cannot read " + index});
  std::filesystem::remove(index);
  folder_.write("unet/model.safetensors", "x");
  const Checkpoint checkpoint = Checkpoint::open(folder_.path());
  const std::string vae = circle("vae");
  expect_error<CheckpointError>([&] { (void)checkpoint.has("vae"); }, {"cannot read " + vae});
  const std::string config = circle("unet/config.json");
  expect_error<CheckpointError>([&] { (void)checkpoint.component("unet").config(); },
                                {"cannot read " + config});
}

TEST_F(CheckpointTest, PrefersThePlainWeightsUnlessAVariantIsAskedFor) {
  write_weights("unet/diffusion_pytorch_model.safetensors", {"w"}, 1);
  write_weights("unet/diffusion_pytorch_model.fp16.safetensors", {"w"}, 2);
  write_weights("unet/diffusion_pytorch_model.non_ema.safetensors", {"w"}, 3);
  EXPECT_EQ(value_of(open_unet(), "w"), 1);
  EXPECT_EQ(value_of(open_unet("fp16"), "w"), 2);
  EXPECT_EQ(value_of(open_unet("bf16"), "w"), 1);
  write_weights("text_encoder/model.safetensors", {"t"}, 4);
  write_weights("text_encoder/model.fp16.safetensors", {"t"}, 5);
  EXPECT_EQ(value_of(Checkpoint::open(folder_.path()).component("text_encoder").weights(), "t"), 4);
  const Checkpoint half = Checkpoint::open(folder_.path(), {.variant = "fp16"});
  EXPECT_EQ(value_of(half.component("text_encoder").weights(), "t"), 5);
}

TEST_F(CheckpointTest, RefusesAVariantThatNoComponentHas) {
  write_weights("unet/diffusion_pytorch_model.safetensors", {"w"});
  expect_error<CheckpointError>([&] { Checkpoint::open(folder_.path(), {.variant = "fp61"}); },
                                {"fp61", "only plain ones"});
  write_weights("vae/diffusion_pytorch_model.fp16.safetensors", {"w"});
  expect_error<CheckpointError>([&] { Checkpoint::open(folder_.path(), {.variant = "fp61"}); },
                                {"fp61", "there are: fp16"});
  EXPECT_NO_THROW(
      Checkpoint::open(folder_.path(), {.variant = "fp16"}).component("unet").weights());
}

TEST_F(CheckpointTest, TakesTheOnlyVariantThatIsThere) {
  write_weights("unet/diffusion_pytorch_model.fp16.safetensors", {"w"}, 2);
  EXPECT_EQ(value_of(open_unet(), "w"), 2);
  expect_unet_refused({"only these variants", "fp16"}, "bf16");
  write_weights("unet/diffusion_pytorch_model.non_ema.safetensors", {"w"}, 3);
  expect_unet_refused({"only these variants", "fp16, non_ema"});
  EXPECT_EQ(value_of(open_unet("non_ema"), "w"), 3);
}

TEST_F(CheckpointTest, ReadsShardsOfEveryNaming) {
  for (const std::string index :
       {"diffusion_pytorch_model.safetensors.index.json", "model.safetensors.index.json",
        "diffusion_pytorch_model.safetensors.index.fp16.json",
        "diffusion_pytorch_model.safetensors.fp16.index.json"}) {
    std::filesystem::remove_all(folder_.path() / "unet");
    write_weights("unet/diffusion_pytorch_model-00001-of-00002.safetensors", {"a", "b"}, 1);
    write_weights("unet/diffusion_pytorch_model-00002-of-00002.safetensors", {"c"}, 2);
    folder_.write("unet/" + index, R"({"metadata": {"total_size": 12}, "weight_map": {
        "a": "diffusion_pytorch_model-00001-of-00002.safetensors",
        "b": "diffusion_pytorch_model-00001-of-00002.safetensors",
        "c": "diffusion_pytorch_model-00002-of-00002.safetensors"}})");
    const Weights weights = open_unet();
    EXPECT_EQ(weights.tensors().size(), 3U) << index;
    EXPECT_EQ(value_of(weights, "b"), 1);
    EXPECT_EQ(value_of(weights, "c"), 2);
    EXPECT_EQ(weights.path().filename(), index);
  }
}

TEST_F(CheckpointTest, RefusesIndexAndShardsThatDisagree) {
  const std::string index = "unet/model.safetensors.index.json";
  const std::string first = "unet/model-00001-of-00002.safetensors";
  write_weights(first, {"a"});
  folder_.write(index, R"({"weight_map": {"a": "model-00001-of-00002.safetensors",
                                          "b": "model-00002-of-00002.safetensors"}})");
  expect_unet_refused({"model-00002-of-00002.safetensors", "No such file"});
  write_weights("unet/model-00002-of-00002.safetensors", {"c"});
  expect_unet_refused({"'c'", "does not name"});
  write_weights("unet/model-00002-of-00002.safetensors", {"a", "b"});
  expect_unet_refused({"'a'", "places in model-00001-of-00002.safetensors"});
  write_weights("unet/model-00002-of-00002.safetensors", {});
  expect_unet_refused({"'b'", "model-00002-of-00002.safetensors", "does not hold it"});
  folder_.write("unet/model-00002-of-00002.safetensors", "damaged");
  expect_unet_refused({"model-00002-of-00002.safetensors", "7 bytes"});
}

TEST_F(CheckpointTest, RefusesAnIndexThatIsNoneOrLeavesTheFolder) {
  const std::string index = "unet/model.safetensors.index.json";
  write_weights("secret.safetensors", {"a"});
  for (const char* file : {"\"../secret.safetensors\"", "\"/etc/passwd\"", "\"..\"", "7", "\"\"",
                           "\"sub/model.safetensors\"", "\"a.bin\"", "\"a\\u0000.safetensors\"",
                           "\"..\\\\secret.safetensors\"", "\"\\u001b[31m.safetensors\""}) {
    folder_.write(index, std::string(R"({"weight_map": {"a": )") + file + "}}");
    expect_unet_refused({index, "'a'", "beside the index"});
  }
  for (const char* text : {"[]", "{}", R"({"weight_map": []})"}) {
    folder_.write(index, text);
    expect_unet_refused({index, "weight_map"});
  }
}

TEST_F(CheckpointTest, ErrorsQuoteTheIndexInPart) {
  const std::string name = std::string(100'000, 'x') + "\\n";
  write_weights("unet/model-00001-of-00002.safetensors", {"a"});
  for (const std::string& map :
       {R"("a": "model-00001-of-00002.safetensors", ")" + name +
            R"(": "model-00001-of-00002.safetensors")",
        "\"" + name + R"(": 7)",
        R"("a": ")" + name + R"(.safetensors", "b": "model-00001-of-00002.safetensors")"}) {
    folder_.write("unet/model.safetensors.index.json", R"({"weight_map": {)" + map + "}}");
    testing::expect_short_error<CheckpointError>([&] { open_unet(); });
  }
}

TEST_F(CheckpointTest, RefusesFoldersWithoutOneSetOfWeights) {
  expect_unet_refused({"no folder"});
  folder_.write("unet/config.json", "{}");
  expect_unet_refused({"no weights", "diffusion_pytorch_model.safetensors"});
  folder_.write("unet/diffusion_pytorch_model.bin", "x");
  expect_unet_refused({"diffusion_pytorch_model.bin", "pickled", "save_pretrained"});
  write_weights("unet/diffusion_pytorch_model.safetensors", {"w"});
  open_unet();
  write_weights("unet/model.safetensors", {"w"});
  expect_unet_refused({"diffusion_pytorch_model.safetensors", "model.safetensors", "remove"});
}

TEST_F(CheckpointTest, WeightsOutliveTheirFolder) {
  write_weights("unet/model.safetensors", {"w"}, 6);
  const Weights weights = open_unet();
  const Weights copy = weights;
  std::filesystem::remove_all(folder_.path() / "unet");
  EXPECT_EQ(value_of(copy, "w"), 6);
}

}  // namespace
}  // namespace pcpp
