// Whole runs of the three families against diffusers (tests/reference/models_make.py).

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdlib>

#include "io/files.h"
#include "pipeline/references.h"

namespace pcpp {
namespace {

constexpr double kTolerance = 2e-4;  // relative L2, after up to 20 steps

SchedulerKind scheduler_of(const nlohmann::json& run) {
  for (const auto kind :
       {SchedulerKind::ddim, SchedulerKind::euler, SchedulerKind::dpmpp_2m, SchedulerKind::unipc,
        SchedulerKind::pndm, SchedulerKind::euler_ancestral, SchedulerKind::dpmpp_2m_sde}) {
    if (run.at("scheduler") == name_of(kind)) return kind;
  }
  return SchedulerKind::lcm;
}

GenerationRequest request_of(const nlohmann::json& run, const TensorMap& references) {
  GenerationRequest request;
  if (references.contains("latents")) request.latents = references.at("latents");
  for (const auto& [name, tensor] : references) {
    if (name.ends_with("prompt_embeds")) request.prompt_embeds[name] = tensor;
  }
  if (!run.at("prompts").is_null()) {
    request.prompts = run.at("prompts").get<std::vector<std::string>>();
  }
  if (!run.at("negative_prompts").is_null()) {
    request.negative_prompts = run.at("negative_prompts").get<std::vector<std::string>>();
  }
  request.width = run.at("width");
  request.height = run.at("height");
  request.steps = run.at("steps");
  request.guidance_scale = run.at("guidance_scale");
  request.scheduler = scheduler_of(run);
  request.keep_steps = true;
  return request;
}

// `pixels` [n, 3, h / 4, w / 4] is every fourth row and column of the decoded images.
void expect_images(const std::vector<Image>& images, const FloatTensor& pixels) {
  ASSERT_EQ(static_cast<std::int64_t>(images.size()), pixels.shape[0]);
  const std::int64_t rows = pixels.shape[2];
  const std::int64_t columns = pixels.shape[3];
  std::size_t next = 0;
  for (const Image& image : images) {
    ASSERT_EQ(image.height, 4 * rows);
    ASSERT_EQ(image.width, 4 * columns);
    for (std::int64_t channel = 0; channel < 3; ++channel) {
      for (std::int64_t y = 0; y < rows; ++y) {
        for (std::int64_t x = 0; x < columns; ++x) {
          const double expected = 255 * std::clamp(pixels.values[next++] / 2.0 + 0.5, 0.0, 1.0);
          const std::int64_t at = 3 * (4 * y * image.width + 4 * x) + channel;
          ASSERT_NEAR(image.rgb[static_cast<std::size_t>(at)], expected, 0.6);
        }
      }
    }
  }
}

// Of step_000, step_001, ...: not all are kept.
void expect_steps(const std::vector<FloatTensor>& steps, const TensorMap& references) {
  int compared = 0;
  for (const auto& [name, reference] : references) {
    if (!name.starts_with("step_")) continue;
    const auto step = static_cast<std::size_t>(std::atoi(name.c_str() + 5));
    EXPECT_LE(relative_distance(steps.at(step), reference), kTolerance) << name;
    ++compared;
  }
  EXPECT_GE(compared, 2);
}

class DiffusersTest : public ::testing::TestWithParam<nlohmann::json> {};

TEST_P(DiffusersTest, EveryKeptStepAndThePictureAgree) {
  const nlohmann::json& run = GetParam();
  TensorMap references = load_tensors(test_data("models/" + run.at("file").get<std::string>()));
  Pipeline& pipeline = cached_pipeline("models/" + run.at("family").get<std::string>(), 1);
  const GenerationResult result = pipeline.generate(request_of(run, references));
  ASSERT_EQ(result.step_latents.size(), run.at("steps").get<std::size_t>());
  expect_steps(result.step_latents, references);
  EXPECT_EQ(result.latents.values, result.step_latents.back().values);
  expect_images(result.images, references.at("pixels"));
}

// As torch.randn with a generator of this seed on a CPU, which is diffusers' randn_tensor there.
TEST_P(DiffusersTest, TheSeedDrawsTheNoiseThatIsGiven) {
  constexpr std::uint64_t kSeed = 300;  // of every run's latents
  constexpr double kRounding = 1e-5;    // of other processors' logarithms, magnified by a step
  const nlohmann::json& run = GetParam();
  TensorMap references = load_tensors(test_data("models/" + run.at("file").get<std::string>()));
  Pipeline& pipeline = cached_pipeline("models/" + run.at("family").get<std::string>(), 1);
  GenerationRequest request = request_of(run, references);
  request.steps = 1;
  request.decode = false;
  const GenerationResult given = pipeline.generate(request);
  request.latents.reset();
  request.seed = kSeed;
  EXPECT_LE(relative_distance(pipeline.generate(request).latents, given.latents), kRounding);
  request.seed = kSeed + 1;
  EXPECT_GE(relative_distance(pipeline.generate(request).latents, given.latents), 0.1);
}

std::vector<nlohmann::json> runs_of(const std::string& index) {
  return read_json_file(test_data(index)).at("runs").get<std::vector<nlohmann::json>>();
}

std::string name_of_run(const ::testing::TestParamInfo<nlohmann::json>& suite) {
  return suite.param.at("family").get<std::string>() + "_" +
         suite.param.at("name").get<std::string>();
}

INSTANTIATE_TEST_SUITE_P(Runs, DiffusersTest, ::testing::ValuesIn(runs_of("models/index.json")),
                         name_of_run);

// tests/reference/lora_make.py
class LoraTest : public ::testing::TestWithParam<nlohmann::json> {};

TEST_P(LoraTest, DrawsDiffusersPicture) {
  const nlohmann::json& run = GetParam();
  const TensorMap references = load_tensors(test_data("lora/" + run.at("file").get<std::string>()));
  PipelineOptions options;
  options.loras = {{test_data("lora/" + run.at("lora").get<std::string>()), run.at("scale")}};
  Pipeline pipeline(test_data("models/" + run.at("family").get<std::string>()), World(1, 1),
                    options);
  GenerationRequest request = request_of(run, references);
  request.decode = false;
  expect_steps(pipeline.generate(request).step_latents, references);
}

std::filesystem::path ip_adapter_data(const std::string& name) {
  return test_data("ip_adapter/" + name);
}

// Of the run's IP-Adapters.
void add_image_prompts(const nlohmann::json& run, const TensorMap& references,
                       GenerationRequest& request, PipelineOptions& options) {
  const nlohmann::json adapters = read_json_file(ip_adapter_data("index.json")).at("adapters");
  for (const nlohmann::json& prompt : run.value("image_prompts", nlohmann::json::array())) {
    const std::string image = "image_prompt_" + std::to_string(request.image_prompts.size());
    request.image_prompts.push_back({images_of(references.at(image)), prompt.at("scale")});
    const std::string name = prompt.at("adapter");
    options.ip_adapters.push_back(
        {ip_adapter_data(name + ".safetensors"), ip_adapter_data(adapters.at(name).at("encoder"))});
  }
}

std::string folder_of(const nlohmann::json& run) {
  if (run.contains("image_prompts")) return "ip_adapter/";
  return run.contains("controls") ? "control/" : "seeded/";
}

// tests/reference/seeded_make.py, control_make.py and ip_adapter_make.py
class SeededTest : public ::testing::TestWithParam<nlohmann::json> {};

TEST_P(SeededTest, DrawsDiffusersPicture) {
  const nlohmann::json& run = GetParam();
  const TensorMap references =
      load_tensors(test_data(folder_of(run) + run.at("file").get<std::string>()));
  GenerationRequest request = request_of(run, references);
  PipelineOptions options;
  for (const nlohmann::json& control : run.value("controls", nlohmann::json::array())) {
    request.width = request.height = 0;
    const std::string image = "control_" + std::to_string(request.controls.size());
    request.controls.push_back({images_of(references.at(image)), control.at("scale"),
                                control.at("begin"), control.at("end")});
    options.controlnets.push_back(test_data("control/" + control.at("net").get<std::string>()));
  }
  add_image_prompts(run, references, request, options);
  if (references.contains("image")) {
    request.width = request.height = 0;
    request.init_images = images_of(references.at("image"));
  }
  if (references.contains("mask")) request.masks = images_of(references.at("mask"));
  request.strength = run.at("strength").get<double>();
  if (run.contains("guidance")) {
    request.guidance_start = run.at("guidance").at(0);
    request.guidance_end = run.at("guidance").at(1);
  }
  request.guidance_rescale = run.value("rescale", 0.0);
  request.images_per_prompt = run.value("images_per_prompt", 1);
  request.seed = run.at("seed");
  request.decode = false;
  const std::string family = run.at("family");
  const testing::TemporaryFolder place;
  const bool changed = write_changed_model(place.path() / "model", family, references);
  const std::filesystem::path model =
      changed ? place.path() / "model" : test_data("models/" + family);
  const GenerationResult result = Pipeline(model, World(1, 1), options).generate(request);
  EXPECT_EQ(result.width, run.at("width"));
  EXPECT_EQ(result.height, run.at("height"));
  EXPECT_EQ(static_cast<int>(result.step_latents.size()),
            static_cast<int>(request.steps * *request.strength));
  expect_steps(result.step_latents, references);
}

INSTANTIATE_TEST_SUITE_P(Runs, SeededTest, ::testing::ValuesIn(runs_of("seeded/index.json")),
                         name_of_run);

INSTANTIATE_TEST_SUITE_P(Controls, SeededTest, ::testing::ValuesIn(runs_of("control/index.json")),
                         name_of_run);

INSTANTIATE_TEST_SUITE_P(ImagePrompts, SeededTest,
                         ::testing::ValuesIn(runs_of("ip_adapter/index.json")), name_of_run);

INSTANTIATE_TEST_SUITE_P(Families, LoraTest, ::testing::ValuesIn(runs_of("lora/index.json")),
                         [](const auto& suite) {
                           return suite.param.at("family").template get<std::string>();
                         });

}  // namespace
}  // namespace pcpp
