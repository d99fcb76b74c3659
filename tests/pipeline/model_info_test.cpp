// What a model's configs tell, and which requests they refuse, before a model is loaded.

#include <gtest/gtest.h>

#include <string>

#include "io/files.h"
#include "pcpp/pipeline.h"
#include "pipeline/references.h"
#include "support/errors.h"

namespace pcpp {
namespace {

TEST(ModelInfo, ComesFromTheConfigsAlone) {
  const ModelInfo info = read_model_info(test_data("patch"));
  EXPECT_EQ(info.latent_channels, 4);
  EXPECT_EQ(info.row_unit, 4);
  EXPECT_EQ(info.most_patches(256), 8);
  EXPECT_EQ(info.most_patches(264), 9);
  for (const int height : {7, 100, 0, -256}) EXPECT_EQ(info.most_patches(height), 0) << height;
  EXPECT_EQ(info.most_patches(kMostPixels), 512);
  EXPECT_EQ(info.most_patches(kMostPixels + 32), 0);
  EXPECT_THROW(read_model_info(test_data("nowhere")), CheckpointError);
}

TEST(ModelInfo, JudgesARequestBeforeAModelIsLoaded) {
  GenerationRequest asked;
  asked.prompts = {"a fox"};
  const ModelInfo info = read_model_info("models/emoji-scenes");
  EXPECT_NO_THROW(info.check(asked, 2));
  asked.width = 257;
  EXPECT_THROW(info.check(asked, 2), ConfigError);
  asked.width = 0;
  EXPECT_EQ(info.most_steps, 1000);
  asked.steps = 1000;
  EXPECT_NO_THROW(info.check(asked, 2));
  asked.steps = 1001;
  testing::expect_error<ConfigError>([&] { info.check(asked, 2); }, {"1001 steps", "1 to 1000"});
  asked.steps = 20;
  testing::expect_error<ConfigError>([&] { info.check(asked, 9); }, {"9"});
  asked.parallel.guidance = Guidance::split;
  EXPECT_NO_THROW(info.check(asked, 2));
  asked.guidance_scale = 1;
  testing::expect_error<ConfigError>([&] { info.check(asked, 2); }, {"cannot be split"});
  asked.parallel.guidance = Guidance::batched;
  EXPECT_NO_THROW(info.check(asked, 2));
  asked.parallel.sync_steps = 0;
  testing::expect_error<ConfigError>([&] { info.check(asked, 2); }, {"0 synchronous steps"});
  asked.parallel.sync_steps = 1;
  asked.parallel.row_format = static_cast<RowFormat>(7);
  testing::expect_error<ConfigError>([&] { info.check(asked, 2); }, {"row_format", "7"});
  asked.parallel.row_format = RowFormat::int4;
  asked.scheduler = static_cast<SchedulerKind>(99);
  testing::expect_error<ConfigError>([&] { info.check(asked, 2); }, {"scheduler", "99"});
  asked.scheduler.reset();
  asked.timestep_spacing = static_cast<TimestepSpacing>(7);
  testing::expect_error<ConfigError>([&] { info.check(asked, 2); }, {"timestep_spacing", "7"});
  asked.timestep_spacing.reset();
  asked.sigmas = static_cast<SigmaSpacing>(7);
  testing::expect_error<ConfigError>([&] { info.check(asked, 2); }, {"sigmas", "7"});
  asked.sigmas.reset();
  asked.automatic = true;
  EXPECT_NO_THROW(info.check(asked, 2));
  asked.parallel.bands = {32, 32};
  testing::expect_error<ConfigError>([&] { info.check(asked, 2); }, {"chooses its bands"});
}

TEST(ModelInfo, TellsHowMuchGuidanceARequestHasThatNamesNone) {
  const auto scale = [](const std::filesystem::path& model) {
    return read_model_info(model).default_guidance_scale;
  };
  EXPECT_EQ(scale(test_data("models/sd15")), 7.5);
  EXPECT_EQ(scale(test_data("models/sdxl")), 5);
  EXPECT_EQ(scale("models/emoji-scenes"), 3);
  EXPECT_EQ(scale("models/emoji-scenes-turbo"), 1);
}

TEST(ModelInfo, RefusesSizesBeyondAnyPicture) {
  const testing::TemporaryFolder folder;
  for (const char* file : {"unet/config.json", "vae/config.json"}) {
    folder.write(file, testing::read_text(test_data("models/sd15") / file));
  }
  nlohmann::json unet = read_json_file(folder.path() / "unet/config.json");
  unet["sample_size"] = 2147483647;
  folder.write("unet/config.json", unet.dump());
  testing::expect_error<CheckpointError>([&] { read_model_info(folder.path()); },
                                         {"sample_size is 2147483647", "at most 16384"});
  unet["sample_size"] = 8;
  folder.write("unet/config.json", unet.dump());
  EXPECT_GT(read_model_info(folder.path()).default_width, 8);
  nlohmann::json vae = read_json_file(folder.path() / "vae/config.json");
  vae["block_out_channels"] = nlohmann::json::array();
  folder.write("vae/config.json", vae.dump());
  testing::expect_error<CheckpointError>([&] { read_model_info(folder.path()); },
                                         {"block_out_channels", "between 1 and 16"});
}

}  // namespace
}  // namespace pcpp
