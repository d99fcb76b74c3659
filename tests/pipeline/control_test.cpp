// Pictures that ControlNets steer. That they are diffusers' is in diffusers_test.cpp.

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "io/files.h"
#include "pipeline/references.h"
#include "support/errors.h"

namespace pcpp {
namespace {

PipelineOptions with_nets(const std::vector<std::string>& nets) {
  PipelineOptions options;
  for (const std::string& net : nets) options.controlnets.push_back(test_data("control/" + net));
  return options;
}

Pipeline steered(const std::string& family, int ranks,
                 const std::vector<std::string>& nets = {"sd15"}) {
  return {test_data("models/" + family), World(ranks, 1), with_nets(nets)};
}

// All steps of which are synchronous.
GenerationRequest request() {
  GenerationRequest request = two_tall_pictures();
  request.steps = 6;
  request.parallel.sync_steps = 6;
  request.controls = {{{striped(64, 192, 3)}}};
  request.decode = false;
  return request;
}

TEST(Controls, SteerBandsAsOneDevice) {
  for (const char* family : {"sd15", "sdxl"}) {
    SCOPED_TRACE(family);
    GenerationRequest asked = request();
    asked.controls.resize(2, {{striped(64, 192, 9)}, 0.6, 0.3, 0.7});
    const std::vector<std::string> nets = {
        family, family == std::string("sd15") ? "sd15_bgr" : "sdxl_small"};
    expect_bands_as_one_device([&](int ranks) { return steered(family, ranks, nets); }, asked,
                               1e-4);
  }
}

TEST(Controls, OfScaleZeroDrawThePlainModelsPicture) {
  GenerationRequest asked = request();
  Pipeline pipeline = steered("sd15", 1);
  asked.controls[0].scale = 0;
  const FloatTensor drawn = pipeline.generate(asked).latents;
  asked.controls[0].scale = 1;
  EXPECT_GE(relative_distance(pipeline.generate(asked).latents, drawn), 0.1);
  asked.controls.clear();
  EXPECT_EQ(cached_pipeline("models/sd15", 1).generate(asked).latents.values, drawn.values);
}

// Steps 2 and 3 of six: what is sent, and the picture, are the plain model's in all others.
TEST(Controls, BehindTheirEndCostNothing) {
  GenerationRequest asked = request();
  asked.parallel.sync_steps = 1;
  asked.keep_steps = true;
  asked.controls[0].start = 0.3;
  asked.controls[0].end = 0.7;
  const GenerationResult result = steered("sd15", 2).generate(asked);
  GenerationRequest unsteered = asked;
  unsteered.controls.clear();
  const GenerationResult plain = cached_pipeline("models/sd15", 2).generate(unsteered);
  const std::vector<StepRecord>& steps = result.ranks[0].steps;
  for (std::size_t step = 0; step + 1 < steps.size(); ++step) {
    // From the synchronous step on, for the steady ones' stale rows; in its last, step 3, nothing
    // is sent that nobody would read.
    const bool runs = step < 3;
    const std::int64_t more = steps[step].sent.total() - plain.ranks[0].steps[step].sent.total();
    EXPECT_EQ(more > 0, runs) << step;
    EXPECT_GE(more, 0) << step;
  }
  for (const std::size_t step : {0U, 1U}) {
    EXPECT_EQ(result.step_latents[step].values, plain.step_latents[step].values) << step;
  }
  EXPECT_NE(result.step_latents[2].values, plain.step_latents[2].values);
}

// One that begins late runs from then on, where no band waits for its rows.
TEST(Controls, AheadOfTheirBeginCostNothingOnOneDevice) {
  GenerationRequest asked = request();
  asked.controls[0].start = 0.5;
  asked.trace = true;
  const GenerationResult result = steered("sd15", 1).generate(asked);
  std::vector<bool> ran(6, false);
  for (const TraceSpan& span : result.trace->ranks[0].spans) {
    if (span.name == std::string("controlnet.0")) ran[static_cast<std::size_t>(span.step)] = true;
  }
  EXPECT_EQ(ran, (std::vector<bool>{false, false, false, true, true, true}));
}

// Its image is made in the first step that it runs in, and all of it lies in steps.
TEST(Controls, LieWithinTheTracesSteps) {
  GenerationRequest asked = request();
  asked.controls[0].start = 0.5;
  asked.trace = true;
  for (const int ranks : {1, 2}) {
    const GenerationResult result = steered("sd15", ranks).generate(asked);
    for (const RankTrace& rank : result.trace->ranks) {
      std::vector<int> made;
      for (const TraceSpan& span : rank.spans) {
        EXPECT_EQ(span.depth == 0, span.name.ends_with(" step")) << span.name;
        if (span.name == "control image") made.push_back(span.step);
      }
      EXPECT_EQ(made, (std::vector<int>{3}));
    }
    const testing::TemporaryFolder place;
    write_chrome_trace(place.path() / "trace.json", result, {});
    EXPECT_TRUE(read_json_file(place.path() / "trace.json").is_object());
  }
}

TEST(Controls, ThatHoldNoStepDoNothing) {
  GenerationRequest asked = request();
  asked.controls[0].start = 0.55;
  asked.controls[0].end = 0.6;  // step 3 of 6 begins at 0.5 and ends at 0.67
  Pipeline pipeline = steered("sd15", 2);
  const GenerationResult result = pipeline.generate(asked);
  asked.controls.clear();
  const GenerationResult plain = cached_pipeline("models/sd15", 2).generate(asked);
  EXPECT_EQ(result.latents.values, plain.latents.values);
  EXPECT_EQ(result.ranks[0].steps[0].sent.total(), plain.ranks[0].steps[0].sent.total());
}

TEST(Controls, NaiveBandsAreSteeredByTheirOwnRowsAlone) {
  GenerationRequest asked = request();
  asked.parallel = ParallelConfig::naive();
  Pipeline two = steered("sd15", 2);
  const FloatTensor first = two.generate(asked).latents;
  constexpr std::size_t kUpperRows = 16;  // of 24
  for (std::size_t i = 3 * 64 * 8 * kUpperRows; i < asked.controls[0].images[0].rgb.size(); ++i) {
    asked.controls[0].images[0].rgb[i] ^= 255;
  }
  const GenerationResult result = two.generate(asked);
  ASSERT_EQ(result.ranks[0].rows, (std::array<std::int64_t, 2>{0, kUpperRows}));
  const FloatTensor& second = result.latents;
  const auto is_upper = [&](std::size_t i) { return i / 8 % 24 < kUpperRows; };
  for (std::size_t i = 0; i < first.values.size(); ++i) {
    if (!is_upper(i)) continue;
    ASSERT_EQ(first.values[i], second.values[i]) << i;
  }
  EXPECT_NE(first.values, second.values);
}

TEST(Controls, OneImageServesAllPromptsAsOneForEachDoes) {
  GenerationRequest asked = request();
  Pipeline pipeline = steered("sd15", 1);
  const FloatTensor one = pipeline.generate(asked).latents;
  asked.controls[0].images.push_back(asked.controls[0].images[0]);
  EXPECT_EQ(pipeline.generate(asked).latents.values, one.values);
  asked.controls[0].images[1] = striped(64, 192, 90);
  const FloatTensor other = pipeline.generate(asked).latents;
  const auto half = static_cast<std::ptrdiff_t>(one.values.size() / 2);
  EXPECT_TRUE(std::equal(one.values.begin(), one.values.begin() + half, other.values.begin()));
  EXPECT_FALSE(
      std::equal(one.values.begin() + half, one.values.end(), other.values.begin() + half));
}

TEST(Controls, APromptsPicturesShareItsImage) {
  GenerationRequest asked = request();
  asked.images_per_prompt = 2;
  asked.controls[0].images.push_back(striped(64, 192, 90));
  Pipeline pipeline = steered("sd15", 1);
  const FloatTensor first = pipeline.generate(asked).latents;
  asked.controls[0].images[1] = striped(64, 192, 30);
  const FloatTensor second = pipeline.generate(asked).latents;
  const auto quarter = first.values.size() / 4;
  for (std::size_t picture = 0; picture < 4; ++picture) {
    const auto begin = static_cast<std::ptrdiff_t>(picture * quarter);
    const auto end = begin + static_cast<std::ptrdiff_t>(quarter);
    EXPECT_EQ(std::equal(first.values.begin() + begin, first.values.begin() + end,
                         second.values.begin() + begin),
              picture < 2)
        << picture;
  }
}

TEST(Controls, GiveThePictureItsSizeWhereNothingElseDoes) {
  GenerationRequest asked = request();
  asked.width = asked.height = 0;
  asked.controls[0].images = {striped(70, 95, 1)};
  const ModelInfo model = steered("sd15", 1).model();
  EXPECT_EQ(model.picture_size(asked).width, 64);
  EXPECT_EQ(model.picture_size(asked).height, 88);
  asked.init_images = {striped(40, 50, 1)};
  EXPECT_EQ(model.picture_size(asked).width, 40);
  asked.height = 96;
  EXPECT_EQ(model.picture_size(asked).height, 96);
}

TEST(Controls, ThatCannotBeMetAreRefusedByName) {
  const ModelInfo model = read_model_info(test_data("models/sd15"), with_nets({"sd15"}));
  EXPECT_EQ(model.controlnets, 1);
  model.check(request(), 1);
  const auto refuses = [&](const std::string& part, const auto& change) {
    expect_refused(model, request(), part, change);
  };
  refuses("0 controls for 1 ControlNets", [](auto& r) { r.controls.clear(); });
  refuses("2 controls for 1 ControlNets", [](auto& r) { r.controls.resize(2); });
  refuses("no image", [](auto& r) { r.controls[0].images.clear(); });
  refuses("3 control images for 2 prompts",
          [](auto& r) { r.controls[0].images.resize(3, striped(8, 8, 1)); });
  refuses("a control image of 64x192 pixels has 1 bytes",
          [](auto& r) { r.controls[0].images[0].rgb = {1}; });
  refuses("a control's scale is inf", [](auto& r) { r.controls[0].scale = INFINITY; });
  refuses("a control from -0.1 to 1", [](auto& r) { r.controls[0].start = -0.1; });
  refuses("a control from 0.5 to 0.5",
          [](auto& r) { r.controls[0].start = r.controls[0].end = 0.5; });
  refuses("to 1.1", [](auto& r) { r.controls[0].end = 1.1; });
  refuses("from nan", [](auto& r) { r.controls[0].start = NAN; });
  testing::expect_error<ConfigError>([] { cached_pipeline("models/sd15", 1).generate(request()); },
                                     {"1 controls for 0 ControlNets"});
}

TEST(Controls, OfOtherModelsAreRefusedBeforeTheyAreLoaded) {
  const testing::TemporaryFolder place;
  const auto expect_refused = [](const std::filesystem::path& net, const std::string& part) {
    PipelineOptions options;
    options.controlnets = {net};
    testing::expect_error<CheckpointError>(
        [&] { read_model_info(test_data("models/sd15"), options); }, {part});
    testing::expect_error<CheckpointError>(
        [&] { Pipeline(test_data("models/sd15"), World(1, 1), options); }, {part});
  };
  expect_refused(test_data("control/sd21"), "it is for another model");
  expect_refused(test_data("control/nowhere"), "there is no folder and no file");
  TensorMap weights = load_tensors(test_data("control/sd15/diffusion_pytorch_model.safetensors"));
  expect_refused(test_data("control/sd21/diffusion_pytorch_model.safetensors"),
                 "is for another model");
  expect_refused(test_data("control/sdxl/diffusion_pytorch_model.safetensors"),
                 "is for another model");
  const auto expect_damaged = [&](const std::string& name, const FloatTensor& tensor,
                                  const std::string& part) {
    TensorMap damaged = weights;
    damaged[name] = tensor;
    save_tensors(place.path() / "damaged.safetensors", damaged);
    expect_refused(place.path() / "damaged.safetensors", part);
  };
  expect_damaged("controlnet_cond_embedding.blocks.7.weight", {{3}, {1, 2, 3}}, "another model");
  expect_damaged("conv_in.weight", {{8, 9, 0, 3}, {}}, "in_channels is 9");
  expect_damaged("controlnet_down_blocks.0.weight", {{8, 7, 1, 1}, std::vector<float>(56)},
                 "[8, 7, 1, 1]");
  expect_damaged("down_blocks.3.attentions.0.proj_in.weight", {{1}, {0}}, "another model");
  expect_damaged("mid_block.attentions.0.transformer_blocks.1.attn1.to_q.weight", {{1}, {0}},
                 "transformer_blocks.1");
  expect_damaged("unknown.weight", {{1}, {0}}, "unknown.weight");
  TensorMap deep = weights;
  for (int i = 0; i < 300; ++i) {
    deep["mid_block.attentions.0.transformer_blocks." + std::to_string(i) + ".attn1.to_q.weight"] =
        {{1}, {0}};
  }
  save_tensors(place.path() / "deep.safetensors", deep);
  expect_refused(place.path() / "deep.safetensors", "more than 256 layers of a transformer");
  for (int block = 7; block < 200; block += 2) {
    weights["controlnet_cond_embedding.blocks." + std::to_string(block) + ".weight"] = {{1}, {1}};
  }
  save_tensors(place.path() / "many.safetensors", weights);
  expect_refused(place.path() / "many.safetensors", "more than 8 resolutions of its image");
  expect_refused(test_data("models/sd15"), "is a whole model");
  const std::filesystem::path net = place.path() / "net";
  std::filesystem::copy(test_data("control/sd15"), net);
  nlohmann::json config = read_json_file(net / "config.json");
  config["conditioning_embedding_out_channels"] = {4, 8};
  std::ofstream(net / "config.json") << config;
  expect_refused(net, "makes a latent row of 2 pixels, the model's VAE of 8");
  std::filesystem::remove(net / "config.json");
  expect_refused(net, "config.json is missing");
}

// Under the names of diffusers and, where there is a table of them, under those of a single file.
TEST(Controls, OfSingleFilesDrawWhatTheirFoldersDraw) {
  const testing::TemporaryFolder place;
  const std::filesystem::path file = place.path() / "net.safetensors";
  for (const std::string net : {"sd15", "sd21", "sdxl", "sdxl_small"}) {
    SCOPED_TRACE(net);
    const std::string family = net.substr(0, 4);
    const TensorMap weights =
        load_tensors(test_data("control/" + net + "/diffusion_pytorch_model.safetensors"));
    GenerationRequest asked = request();
    asked.steps = asked.parallel.sync_steps = 2;
    const FloatTensor expected = steered(family, 1, {net}).generate(asked).latents;
    PipelineOptions options;
    options.controlnets = {file};
    save_tensors(file, weights);
    EXPECT_EQ(Pipeline(test_data("models/" + family), World(1, 1), options)
                  .generate(asked)
                  .latents.values,
              expected.values);
    const std::filesystem::path names = test_data("control/" + net + "_names.json");
    if (!std::filesystem::exists(names)) continue;
    TensorMap single;
    for (const nlohmann::json& pair : read_json_file(names)) {
      single[pair[0].get<std::string>()] = weights.at(pair[1].get<std::string>());
    }
    save_tensors(file, single);
    EXPECT_EQ(Pipeline(test_data("models/" + family), World(1, 1), options)
                  .generate(asked)
                  .latents.values,
              expected.values);
  }
}

TEST(Controls, ArePlannedWithTheNetwork) {
  GenerationRequest asked = request();
  asked.automatic = true;
  EXPECT_TRUE(steered("sd15", 2).generate(asked).chosen.has_value());
  const DeviceProfile& profile = DeviceProfile::named("a100-nvlink");
  PlanRequest plain;
  plain.width = 64;
  plain.height = 192;
  plain.devices = 2;
  PlanRequest steered = plain;
  steered.controlnets = with_nets({"sd15"}).controlnets;
  const Plan without = make_plan(test_data("models/sd15"), plain, profile);
  const Plan with = make_plan(test_data("models/sd15"), steered, profile);
  ASSERT_EQ(with.runs.size(), without.runs.size());
  for (std::size_t i = 0; i < with.runs.size(); ++i) {
    EXPECT_GT(with.runs[i].mean_flops, without.runs[i].mean_flops);
    EXPECT_GT(with.runs[i].weight_bytes, without.runs[i].weight_bytes);
    EXPECT_EQ(with.runs[i].sent.gather, without.runs[i].sent.gather);
    const bool is_cut =
        with.runs[i].ranks > 1 && with.runs[i].parallel.guidance == Guidance::batched;
    if (!is_cut) continue;
    EXPECT_GT(with.runs[i].sent.halo, without.runs[i].sent.halo);
  }
  const DeviceProfile measured =
      measure_profile(test_data("models/sd15"), steered, DataType::float32, World(1, 1));
  EXPECT_TRUE(measured.measured);
}

}  // namespace
}  // namespace pcpp
