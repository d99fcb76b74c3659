// What single files are read with are the configs that their families were published with.

#include "io/model_family.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <map>
#include <nlohmann/json.hpp>
#include <string>

#include "io/family_files.h"
#include "io/json_file.h"
#include "models/clip_text.h"
#include "models/tiny_models.h"
#include "models/unet.h"
#include "models/vae_decoder.h"
#include "models/vae_encoder.h"

namespace pcpp {
namespace {

struct Family {
  std::string name;
  std::int64_t text_width;
};

using Configs = std::map<std::string, nlohmann::json>;

Configs configs_of(const Family& family) {
  return family_configs(testing::family_file(4, family.text_width), {}, "a file");
}

class ModelFamilyTest : public ::testing::TestWithParam<Family> {
 protected:
  ConfigReader config(const std::string& component) const {
    return {configs_.at(component), component};
  }

  const Configs configs_ = configs_of(GetParam());
};

// models/configs has the published ones.
TEST_P(ModelFamilyTest, ItsUNetIsThePublishedOne) {
  const nlohmann::json published =
      read_json_file(models_folder() / "configs" / (GetParam().name + ".json"));
  UNetConfig expected = read_unet_config(ConfigReader(published, "it"));
  // Of Stable Diffusion 2.1 the model at 768 pixels is there.
  if (GetParam().name == "sd21") expected.sample_rows = expected.sample_columns = 64;
  EXPECT_EQ(read_unet_config(config("unet")), expected);
}

TEST_P(ModelFamilyTest, ItsPartsFitTogether) {
  const UNet unet(read_unet_config(config("unet")), WeightScope::shapes_only());
  const VaeDecoder decoder(config("vae"), WeightScope::shapes_only());
  const VaeEncoder encoder(config("vae"), WeightScope::shapes_only());
  EXPECT_EQ(decoder.latent_channels(), unet.config().out_channels);
  EXPECT_EQ(encoder.scale(), 8);
  std::int64_t text_width = 0;
  for (const char* name : {"text_encoder", "text_encoder_2"}) {
    if (!configs_.contains(name)) continue;
    const ClipText text(config(name), WeightScope::shapes_only());
    text_width += text.width();
    EXPECT_EQ(text.vocabulary_size(), 49408);
    EXPECT_EQ(text.max_tokens(), 77);
    if (unet.config().added) {
      EXPECT_EQ(text.pooled_width(), name == std::string("text_encoder") ? 768 : 1280);
    }
  }
  EXPECT_EQ(text_width, unet.config().text_width);
}

INSTANTIATE_TEST_SUITE_P(Families, ModelFamilyTest,
                         ::testing::Values(Family{"sd15", 768}, Family{"sd21", 1024},
                                           Family{"sdxl", 2048}),
                         [](const auto& suite) { return suite.param.name; });

}  // namespace
}  // namespace pcpp
