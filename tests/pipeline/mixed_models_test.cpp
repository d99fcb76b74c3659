// Folders whose parts are of different models: each is refused by name, before any step.

#include <gtest/gtest.h>

#include <filesystem>
#include <functional>
#include <ostream>
#include <string>

#include "io/files.h"
#include "pipeline/references.h"
#include "support/errors.h"

namespace pcpp {
namespace {

namespace fs = std::filesystem;

void replace_part(const fs::path& part, const fs::path& other) {
  fs::remove_all(part);
  fs::copy(other, part, fs::copy_options::recursive);
}

void set_max_length(const fs::path& tokenizer, int tokens) {
  nlohmann::json config = read_json_file(tokenizer / "tokenizer_config.json");
  config["model_max_length"] = tokens;
  write_file(tokenizer / "tokenizer_config.json", config.dump());
}

void set_end(const fs::path& text_encoder, std::int64_t id) {
  nlohmann::json config = read_json_file(text_encoder / "config.json");
  config["eos_token_id"] = id;
  write_file(text_encoder / "config.json", config.dump());
}

struct Mixture {
  std::string name;
  std::string text;   // what the message must hold
  std::string model;  // that is copied and spoiled
  std::function<void(const fs::path& folder)> spoil;

  friend void PrintTo(const Mixture& value, std::ostream* out) { *out << value.name; }
};

class MixedModels : public ::testing::TestWithParam<Mixture> {};

TEST_P(MixedModels, AreRefusedBeforeAnyStep) {
  const testing::TemporaryFolder place;
  const fs::path folder = place.path() / "mixed";
  fs::copy(test_data("models/" + GetParam().model), folder, fs::copy_options::recursive);
  GetParam().spoil(folder);
  Pipeline mixed(folder, World(1, 1));
  GenerationRequest worded;
  worded.prompts = {"a fox"};
  worded.on_step = [](const StepProgress&) { FAIL() << "a step was made"; };
  testing::expect_error<CheckpointError>([&] { mixed.generate(worded); }, {GetParam().text});
}

INSTANTIATE_TEST_SUITE_P(
    All, MixedModels,
    ::testing::Values(
        Mixture{
            "vocabulary",
            "tokenizer has 4514 entries, text_encoder knows 610: they are not of the same model",
            "sd15",
            [](const fs::path& folder) {
              for (const char* file : {"vocab.json", "merges.txt"}) {
                replace_part(folder / "tokenizer" / file, test_data("tokenizer") / file);
              }
            }},
        Mixture{"more_tokens_than_places",
                "tokenizer makes 78 tokens, text_encoder takes at most 77", "sd15",
                [](const fs::path& folder) { set_max_length(folder / "tokenizer", 78); }},
        Mixture{"tokenizers_of_two_lengths",
                "tokenizer_2 makes 50 tokens and the first tokenizer 77: they are not of the same "
                "model",
                "sdxl", [](const fs::path& folder) { set_max_length(folder / "tokenizer_2", 50); }},
        Mixture{"end_of_no_text",
                "text_encoder/config.json: eos_token_id is -5; it must be 609, the end of the "
                "tokenizer's texts, or 2",
                "sd15", [](const fs::path& folder) { set_end(folder / "text_encoder", -5); }},
        Mixture{"end_of_another_tokenizer",
                "text_encoder_2/config.json: eos_token_id is 608; it must be 609", "sdxl",
                [](const fs::path& folder) { set_end(folder / "text_encoder_2", 608); }},
        Mixture{"text_encoder",
                "make texts of 24 values, 0 pooled, and the U-Net reads 16, 0 pooled: they are not "
                "of the same model",
                "sd15",
                [](const fs::path& folder) {
                  for (const char* part : {"text_encoder", "tokenizer"}) {
                    replace_part(folder / part, test_data("models/sd21") / part);
                  }
                }},
        Mixture{"vae", "the VAE's latents have 32 channels, the U-Net's 4", "sd15",
                [](const fs::path& folder) {
                  replace_part(folder / "vae", "models/emoji-scenes/vae");
                }}),
    [](const auto& suite) { return suite.param.name; });

TEST(ModelInfo, RefusesAUNetThatPredictsOtherChannelsThanItTakes) {
  const testing::TemporaryFolder place;
  nlohmann::json unet = read_json_file(test_data("models/sd15/unet/config.json"));
  unet["in_channels"] = 8;
  place.write("unet/config.json", unet.dump());
  testing::expect_error<CheckpointError>(
      [&] { read_model_info(place.path()); },
      {place.path().string(), "takes 8 channels and predicts 4", "only 4 (latents alone) and 9"});
  unet["in_channels"] = 9;
  place.write("unet/config.json", unet.dump());
  EXPECT_TRUE(read_model_info(place.path()).inpainting);
  EXPECT_EQ(read_model_info(place.path()).latent_channels, 4);
}

}  // namespace
}  // namespace pcpp
