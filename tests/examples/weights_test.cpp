// Which weights `generate` draws with.

#include <gtest/gtest.h>

#include <array>
#include <cstddef>
#include <filesystem>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "examples/generate_runs.h"
#include "pcpp/pcpp.h"

namespace pcpp {
namespace {

class WeightsTest : public GenerateRuns {
 protected:
  nlohmann::json settings() const {
    return nlohmann::json::parse(std::ifstream(place("x.json"))).at("settings");
  }
};

TEST_F(WeightsTest, TakesTheVariantOfTheWeightsThatIsNamed) {
  fs::copy(data("models/sd15"), place("model"), fs::copy_options::recursive);
  const std::string weights = place("model/unet/diffusion_pytorch_model.");
  fs::copy(weights + "safetensors", weights + "non_ema.safetensors");
  fs::rename(weights + "safetensors", weights + "fp16.safetensors");
  const Words asked = {"--model", place("model"), "--prompt", "a", "--output", place("x.png")};
  const Outcome unnamed = generate(asked);
  EXPECT_EQ(unnamed.status, 1);
  EXPECT_NE(unnamed.errors.find("fp16, non_ema; name one of them"), std::string::npos);
  Words named = asked;
  named.insert(named.end(), {"--variant", "fp16"});
  const Outcome outcome = generate(named);
  EXPECT_EQ(outcome.status, 0) << outcome.errors;
}

// By the names of tests/reference/single_file_make.py.
TEST_F(WeightsTest, TakesASingleFileAndTheConfigsOfAFolder) {
  const TensorMap unet = load_tensors(data("models/sd15/unet/diffusion_pytorch_model.safetensors"));
  TensorMap tensors;
  const auto names = nlohmann::json::parse(std::ifstream(data("single_file/sd15.json")));
  for (const auto& [name, component, part, how] :
       names.get<std::vector<std::array<std::string, 4>>>()) {
    if (component == "unet") tensors[name] = unet.at(part);
  }
  save_tensors(place("model.safetensors"), tensors);
  const FloatTensor text{{1, 77, 16}, std::vector<float>(std::size_t{77} * 16, 0.5F)};
  save_tensors(place("text.safetensors"), {{"prompt_embeds", text}});
  const auto draw = [&](const Words& model) {
    Words all = model;
    all.insert(all.end(), {"--prompt-embeds", place("text.safetensors"), "--guidance-scale", "1",
                           "--steps", "2", "--output", "none", "--save-latents",
                           place("latents.safetensors"), "--report", place("x.json")});
    const Outcome outcome = generate(all);
    EXPECT_EQ(outcome.status, 0) << outcome.errors;
    return load_tensors(place("latents.safetensors")).at("latents").values;
  };
  const std::vector<float> expected = draw({"--model", data("models/sd15")});
  EXPECT_EQ(draw({"--model", place("model.safetensors"), "--configs", data("models/sd15")}),
            expected);
  EXPECT_EQ(settings().at("configs"), data("models/sd15"));
  const Outcome unknown =
      generate({"--model", place("model.safetensors"), "--prompt", "a", "--output", "none"});
  EXPECT_EQ(unknown.status, 1);
  EXPECT_NE(unknown.errors.find("name a folder with its configs"), std::string::npos);
}

TEST_F(WeightsTest, TakesTheVaeThatIsNamedAndSaysWhich) {
  const Words plain = {"--prompt", "a fox",    "--method",     "single",   "--steps",
                       "2",        "--output", place("x.png"), "--report", place("x.json")};
  ASSERT_EQ(generate(plain).status, 0);
  const Image own = read_png(place("x.png"));
  EXPECT_TRUE(settings().at("vae").is_null());
  Words all = plain;
  all.insert(all.end(), {"--vae", data("models/sdxl/vae")});
  const Outcome outcome = generate(all);
  ASSERT_EQ(outcome.status, 0) << outcome.errors;
  std::map<std::string, std::string> text;
  EXPECT_NE(read_png(place("x.png"), &text).rgb, own.rgb);
  EXPECT_EQ(text.at("vae"), "vae");
  EXPECT_EQ(settings().at("vae"), data("models/sdxl/vae"));
}

TEST_F(WeightsTest, WritesOverNoVaeThatItReads) {
  fs::copy(data("models/sd15/vae/diffusion_pytorch_model.safetensors"), place("vae.png"));
  const Outcome outcome =
      generate({"--prompt", "a", "--vae", place("vae.png"), "--output", place("vae.png")});
  EXPECT_EQ(outcome.status, 1) << outcome.errors;
  EXPECT_NE(outcome.errors.find("vae.png is named for an input and for an output"),
            std::string::npos)
      << outcome.errors;
}

TEST_F(WeightsTest, AddsLorasAndSaysWhich) {
  fs::copy(data("lora/sd15.safetensors"), place("a:b.safetensors"));
  const Words plain = {"--prompt", "a fox",    "--method",     "single",   "--steps",
                       "2",        "--output", place("x.png"), "--report", place("x.json")};
  ASSERT_EQ(generate(plain).status, 0);
  const Image without = read_png(place("x.png"));
  Words all = plain;
  all.insert(all.end(), {"--lora", data("lora/sd15.safetensors") + ":0.5", "--lora",
                         place("a:b.safetensors")});
  const Outcome outcome = generate(all);
  ASSERT_EQ(outcome.status, 0) << outcome.errors;
  std::map<std::string, std::string> text;
  EXPECT_NE(read_png(place("x.png"), &text).rgb, without.rgb);
  EXPECT_EQ(text.at("loras"), "sd15.safetensors:0.5, a:b.safetensors:1");
  EXPECT_EQ(settings().at("loras")[0].at("scale"), 0.5);
  EXPECT_EQ(settings().at("loras")[1].at("file"), place("a:b.safetensors"));
}

TEST_F(WeightsTest, AddsWordsOfTextualInversionAndSaysWhich) {
  const TensorMap vectors = {{"emb_params", {{2, 16}, std::vector<float>(32, 3)}}};
  save_tensors(place("glow.safetensors"), vectors);
  const auto draw = [&](const std::string& prompt) {
    const Outcome outcome =
        generate({"--model", data("models/sd15"), "--prompt", prompt, "--method", "single",
                  "--steps", "2", "--clip-skip", "1", "--output", place("x.png"), "--report",
                  place("x.json"), "--textual-inversion", place("glow.safetensors"),
                  "--textual-inversion", place("glow.safetensors") + ":<fog:2>"});
    EXPECT_EQ(outcome.status, 0) << outcome.errors;
    std::map<std::string, std::string> text;
    const Image image = read_png(place("x.png"), &text);
    EXPECT_EQ(text.at("textual_inversions"), "glow.safetensors, glow.safetensors:<fog:2>");
    EXPECT_EQ(text.at("clip_skip"), "1");
    return image.rgb;
  };
  EXPECT_EQ(draw("a glow"), draw("a <fog:2>"));
  EXPECT_NE(draw("a glow"), draw("a snow"));
  const nlohmann::json inversions = settings().at("textual_inversions");
  EXPECT_EQ(inversions[0].at("file"), place("glow.safetensors"));
  EXPECT_TRUE(inversions[0].at("word").is_null());
  EXPECT_EQ(inversions[1].at("word"), "<fog:2>");
  EXPECT_EQ(settings().at("clip_skip"), 1);
}

}  // namespace
}  // namespace pcpp
