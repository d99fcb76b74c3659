// Steady steps that are recorded as graphs, beside those that are launched singly: on a GPU, or on
// emulated ones (tests/support/emulated_graphs.cpp).

#include <gtest/gtest.h>

#include <cstddef>
#include <filesystem>
#include <stop_token>
#include <vector>

#include "pipeline/gpu_cases.h"
#include "pipeline/references.h"

namespace pcpp {
namespace {

// A ControlNet that begins in step 2 and ends after step 4, in which it sends nothing.
TEST_F(GpuTest, ControlNetsAreRecordedUntilTheyEnd) {
  GenerationRequest asked = two_tall_pictures();
  asked.prompts.resize(1);
  asked.height = 128;
  asked.guidance_scale = 1;
  asked.steps = 9;
  asked.parallel.sync_steps = 1;
  asked.decode = false;
  asked.controls = {{{striped(64, 128, 3)}, 0.8, 0.2, 0.56}};
  const auto draw = [&](const World& world, bool cuda_graphs) {
    PipelineOptions steered = options(DataType::float32, cuda_graphs);
    steered.controlnets = {test_data("control/sd15")};
    return Pipeline(test_data("models/sd15"), world, steered).generate(asked);
  };
  const GenerationResult recorded = draw(World::cuda({0}, 2), true);
  EXPECT_EQ(draw(World::cuda({0}, 2), false).latents.values, recorded.latents.values);
  EXPECT_LE(relative_distance(recorded.latents, draw(World(2, 1), false).latents), kTolerance);
  const std::vector<StepRecord>& steps = recorded.ranks[0].steps;
  std::vector<bool> are_graphs;
  for (const StepRecord& step : steps) are_graphs.push_back(step.graphs > 0);
  EXPECT_EQ(are_graphs,
            (std::vector<bool>{false, false, false, true, false, false, true, true, false}));
  EXPECT_GT(steps[3].graphs, steps[6].graphs);
}

// Keys and values of their images are computed in the first step and read by all graphs.
TEST_F(GpuTest, ImagePromptsAreReadByGraphs) {
  GenerationRequest asked = two_tall_pictures();
  asked.prompts.resize(1);
  asked.height = 128;
  asked.steps = 7;
  asked.parallel.sync_steps = 1;
  asked.decode = false;
  asked.image_prompts = {{{striped(40, 30, 3)}, 0.8}, {{striped(30, 40, 9)}, 0.5}};
  const auto draw = [&](const World& world, bool cuda_graphs) {
    PipelineOptions adapted = options(DataType::float32, cuda_graphs);
    const std::filesystem::path encoder = test_data("ip_adapter/vision");
    adapted.ip_adapters = {{test_data("ip_adapter/sd15_plain.safetensors"), encoder},
                           {test_data("ip_adapter/sd15_plus.safetensors"), encoder}};
    return Pipeline(test_data("models/sd15"), world, adapted).generate(asked);
  };
  const GenerationResult recorded = draw(World::cuda({0}, 2), true);
  EXPECT_GT(recorded.ranks[0].steps[4].graphs, 0);
  EXPECT_EQ(draw(World::cuda({0}, 2), false).latents.values, recorded.latents.values);
  EXPECT_LE(relative_distance(recorded.latents, draw(World(2, 1), false).latents), kTolerance);
}

// Each phase records anew: six steps with guidance and six without, of which two are recorded each.
TEST_F(GpuTest, GuidanceOfAPartIsRecordedByPhases) {
  GenerationRequest asked = request();
  asked.steps = 12;
  asked.guidance_end = 0.5;
  asked.scheduler = SchedulerKind::dpmpp_2m;
  const auto draw = [&](const World& world, bool cuda_graphs) {
    return Pipeline(test_data("patch"), world, options(DataType::float32, cuda_graphs))
        .generate(asked);
  };
  for (const double rescale : {0.0, 0.7}) {
    asked.guidance_rescale = rescale;
    const GenerationResult recorded = draw(World::cuda({0}, 2), true);
    EXPECT_LE(relative_distance(recorded.latents, draw(World(2, 1), false).latents), kTolerance);
    if (!is_emulated()) {
      EXPECT_EQ(draw(World::cuda({0}, 2), false).latents.values, recorded.latents.values);
    }
    std::vector<int> are_graphs;
    for (const StepRecord& step : recorded.ranks[0].steps) {
      if (step.graphs > 0) are_graphs.push_back(step.step);
    }
    EXPECT_EQ(are_graphs, (std::vector{3, 4, 9, 10}));
  }
}

class GpuGraphs : public GpuMethods {};

TEST_P(GpuGraphs, DrawWhatSingleLaunchesDraw) {
  GenerationRequest request = method_request();
  request.steps = request_with_graphs(1).steps;
  const int ranks = GetParam().ranks;
  const GenerationResult graphs = pipeline(ranks, options(DataType::float32)).generate(request);
  const GenerationResult eager =
      pipeline(ranks, options(DataType::float32, false)).generate(request);
  expect_equal(graphs, eager);
  const std::size_t first_steady = request.parallel.reach == Reach::none ? 0 : 1;
  const int count = graphs.ranks[0].steps[first_steady + 2].graphs;
  EXPECT_GT(count, 0);
  for (const RankReport& rank : graphs.ranks) {
    for (std::size_t step = 0; step < rank.steps.size(); ++step) {
      const bool is_amid_steady_ones = step > first_steady + 1 && step + 1 < rank.steps.size();
      EXPECT_EQ(rank.steps[step].graphs, is_amid_steady_ones ? count : 0) << step;
    }
  }
  EXPECT_EQ(eager.ranks[0].steps[first_steady + 2].graphs, 0);
}

TEST_F(GpuTest, GraphsOfSixteenBitsDrawWhatSingleLaunchesDraw) {
  const GenerationRequest request = request_with_graphs(1);
  for (const DataType dtype : is_emulated() ? std::vector{DataType::float16}
                                            : std::vector{DataType::float16, DataType::bfloat16}) {
    const GenerationResult graphs = pipeline(2, options(dtype)).generate(request);
    EXPECT_GT(graphs.ranks[0].steps[4].graphs, 0) << name_of(dtype);
    expect_equal(graphs, pipeline(2, options(dtype, false)).generate(request));
  }
}

TEST_F(GpuTest, EachRequestRecordsItsOwnGraphs) {
  Pipeline graphs = pipeline(2, options(DataType::float32));
  Pipeline eager = pipeline(2, options(DataType::float32, false));
  GenerationRequest small = request_with_graphs(1);
  small.latents.reset();
  small.height = 128;
  small.width = 64;
  graphs.generate(small);
  small.width = 96;
  expect_equal(graphs.generate(small), eager.generate(small));
}

TEST_F(GpuTest, AStopEndsAStepOfGraphs) {
  std::stop_source stop;
  GenerationRequest request = request_with_graphs();
  int steps = 0;
  request.stop = stop.get_token();
  request.on_step = [&](const StepProgress& progress) {
    steps = progress.step;
    if (progress.step == 6) stop.request_stop();  // before the second step that repeats
  };
  Pipeline drawing = pipeline(2, options(DataType::float32));
  EXPECT_THROW(drawing.generate(request), Cancelled);
  EXPECT_EQ(steps, 6);
}

TEST_F(GpuTest, RanksInTurnDrawTheSameBits) {
  GenerationRequest drawn = request_with_graphs(1);
  Pipeline drawing = pipeline(2, options(DataType::float32));
  const GenerationResult at_once = drawing.generate(drawn);
  drawn.ranks_in_turn = true;
  const GenerationResult in_turn = drawing.generate(drawn);
  expect_equal(in_turn, at_once);
  EXPECT_GT(in_turn.ranks[0].steps[4].graphs, 0);
}

// Those whose steps differ in what a rank computes, starts and waits for: emulated GPUs are slow.
std::vector<MethodCase> graph_cases() {
  std::vector<MethodCase> cases = method_cases();
  std::erase_if(cases, [](const MethodCase& method) {
    return method.name == "pcpp_8" || method.name == "local" || method.name == "bands";
  });
  return cases;
}

INSTANTIATE_TEST_SUITE_P(Methods, GpuGraphs, ::testing::ValuesIn(graph_cases()),
                         [](const auto& suite) { return suite.param.name; });

}  // namespace
}  // namespace pcpp
