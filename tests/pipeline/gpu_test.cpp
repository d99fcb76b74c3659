// Whole pictures with device cuda, beside those of one rank and of a CPU: on a GPU, or on emulated
// ones (tests/support/emulated_gpus.cpp).

#include <ATen/Context.h>
#include <c10/util/Exception.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <set>
#include <string>
#include <utility>
#include <vector>

#include "pipeline/on_gpus.h"
#include "pipeline/references.h"
#include "support/errors.h"

namespace pcpp {
namespace {

// float32, of other sums in another order; one token read too many moves the latents by 7e-4.
constexpr double kTolerance = 1e-4;

class GpuTest : public OnGpus {
 protected:
  // A synchronous step and two steady ones: emulated GPUs are slow.
  static GenerationRequest request() {
    GenerationRequest request = patch_request("inputs_32x12.safetensors");
    request.steps = 3;
    request.parallel.sync_steps = 1;
    return request;
  }

  // A synchronous step, two steady ones, two that record graphs, some that repeat them, and the
  // last.
  static GenerationRequest request_with_graphs(int repeats = 3) {
    GenerationRequest longer = request();
    longer.steps = 6 + repeats;
    return longer;
  }

  static PipelineOptions options(DataType dtype, bool cuda_graphs = true) {
    return {.dtype = dtype, .cuda_graphs = cuda_graphs};
  }

  static bool is_emulated() { return World::gpu_name(0) == "emulated GPU"; }  // and slow

  // All ranks on the first GPU.
  static Pipeline pipeline(int ranks, const PipelineOptions& options) {
    return {test_data("patch"), World::cuda({0}, ranks), options};
  }
  static GenerationResult draw(const GenerationRequest& request, int ranks,
                               DataType dtype = DataType::float32) {
    return pipeline(ranks, options(dtype)).generate(request);
  }
};

TEST_F(GpuTest, OneRankDrawsWhatACpuDraws) {
  const GenerationResult result = draw(request(), 1);
  const GenerationResult reference = cached_pipeline("patch", 1).generate(request());
  ASSERT_EQ(result.step_latents.size(), reference.step_latents.size());
  for (std::size_t step = 0; step < result.step_latents.size(); ++step) {
    EXPECT_LE(relative_distance(result.step_latents[step], reference.step_latents[step]),
              kTolerance)
        << "step " << step;
  }
}

TEST_F(GpuTest, SynchronousRanksDrawWhatOneDraws) {
  GenerationRequest synchronous = request();
  synchronous.parallel.sync_steps = synchronous.steps;
  const GenerationResult one = draw(synchronous, 1);
  for (const int ranks : is_emulated() ? std::vector{2, 4} : std::vector{2, 3, 4, 8}) {
    EXPECT_LE(relative_distance(draw(synchronous, ranks).latents, one.latents), kTolerance)
        << ranks << " ranks";
  }
}

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
  const GenerationResult recorded = draw(World::cuda({0}, 2), true);
  EXPECT_EQ(draw(World::cuda({0}, 2), false).latents.values, recorded.latents.values);
  EXPECT_LE(relative_distance(recorded.latents, draw(World(2, 1), false).latents), kTolerance);
  std::vector<int> are_graphs;
  for (const StepRecord& step : recorded.ranks[0].steps) {
    if (step.graphs > 0) are_graphs.push_back(step.step);
  }
  EXPECT_EQ(are_graphs, (std::vector{3, 4, 9, 10}));
}

struct MethodCase {
  std::string name;
  ParallelConfig config;
  int ranks = 2;

  friend void PrintTo(const MethodCase& value, std::ostream* out) { *out << value.name; }
};

template <typename Change>
ParallelConfig with(ParallelConfig config, const Change& change) {
  change(config);
  return config;
}

std::vector<MethodCase> method_cases() {
  const auto changed = [](const auto& change) { return with(ParallelConfig::pcpp(), change); };
  return {{"pcpp_2", ParallelConfig::pcpp(), 2},
          {"pcpp_8", ParallelConfig::pcpp(), 8},
          {"distrifusion_3", ParallelConfig::distrifusion(), 3},
          {"naive_2", ParallelConfig::naive(), 2},
          {"stale", changed([](auto& c) { c.group_norm = GroupNormMode::stale; }), 2},
          {"local", changed([](auto& c) { c.group_norm = GroupNormMode::local; }), 2},
          {"fresh", changed([](auto& c) { c.group_norm = GroupNormMode::synchronous; }), 2},
          {"pooled", changed([](auto& c) { c.pool = 5; }), 3},
          {"int8", changed([](auto& c) { c.row_format = RowFormat::int8; }), 2},
          {"int4", changed([](auto& c) { c.row_format = RowFormat::int4; }), 3},
          {"split", changed([](auto& c) { c.guidance = Guidance::split; }), 4},
          {"bands", changed([](auto& c) {
             c.bands = {8, 16, 8};
           }),
           3}};
}

class GpuMethods : public GpuTest, public ::testing::WithParamInterface<MethodCase> {
 protected:
  static GenerationRequest method_request() {
    GenerationRequest request = GpuTest::request();
    request.parallel = GetParam().config;
    request.parallel.sync_steps = 1;
    return request;
  }
};

TEST_P(GpuMethods, DrawWhatTheyDrawOnACpu) {
  const GenerationRequest request = method_request();
  const GenerationResult reference = cached_pipeline("patch", GetParam().ranks).generate(request);
  const GenerationResult result = draw(request, GetParam().ranks);
  // A value on the edge between two encoded levels may fall to either side.
  const double bound = request.parallel.row_format == RowFormat::exact ? kTolerance : 1e-3;
  const auto steps = static_cast<std::size_t>(request.steps);
  ASSERT_EQ(result.step_latents.size(), steps);
  ASSERT_EQ(reference.step_latents.size(), steps);
  for (std::size_t step = 0; step < result.step_latents.size(); ++step) {
    EXPECT_LE(relative_distance(result.step_latents[step], reference.step_latents[step]), bound)
        << "step " << step;
  }
  ASSERT_EQ(result.ranks.size(), static_cast<std::size_t>(GetParam().ranks));
  ASSERT_EQ(reference.ranks.size(), result.ranks.size());
  for (std::size_t rank = 0; rank < result.ranks.size(); ++rank) {
    ASSERT_EQ(result.ranks[rank].steps.size(), steps);
    ASSERT_EQ(reference.ranks[rank].steps.size(), steps);
    for (std::size_t step = 0; step < result.ranks[rank].steps.size(); ++step) {
      EXPECT_EQ(result.ranks[rank].steps[step].sent, reference.ranks[rank].steps[step].sent);
      EXPECT_GT(result.ranks[rank].steps[step].compute_ms, 0);
    }
  }
}

// Every bit of every step, and every byte that was sent.
void expect_equal(const GenerationResult& actual, const GenerationResult& expected) {
  const std::size_t steps = expected.step_latents.size();
  ASSERT_GT(steps, 0U);
  ASSERT_EQ(actual.step_latents.size(), steps);
  for (std::size_t step = 0; step < steps; ++step) {
    EXPECT_EQ(actual.step_latents[step].values, expected.step_latents[step].values) << step;
  }
  ASSERT_GT(expected.ranks.size(), 0U);
  ASSERT_EQ(actual.ranks.size(), expected.ranks.size());
  for (std::size_t rank = 0; rank < expected.ranks.size(); ++rank) {
    ASSERT_EQ(expected.ranks[rank].steps.size(), steps);
    ASSERT_EQ(actual.ranks[rank].steps.size(), steps);
    for (std::size_t step = 0; step < expected.ranks[rank].steps.size(); ++step) {
      EXPECT_EQ(actual.ranks[rank].steps[step].sent, expected.ranks[rank].steps[step].sent) << step;
    }
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

TEST_F(GpuTest, TwoRequestsDrawTheSameBits) {
  Pipeline pipeline(test_data("patch"), World::cuda({0}, 3));
  EXPECT_EQ(pipeline.generate(request()).latents.values,
            pipeline.generate(request()).latents.values);
}

INSTANTIATE_TEST_SUITE_P(Methods, GpuMethods, ::testing::ValuesIn(method_cases()),
                         [](const auto& suite) { return suite.param.name; });

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

TEST_F(GpuTest, SixteenBitsStayNearFloat32) {
  for (const int ranks : is_emulated() ? std::vector{2} : std::vector{1, 2, 3, 4, 8}) {
    for (const RowFormat format : {RowFormat::exact, RowFormat::int4}) {
      GenerationRequest encoded = request();
      encoded.parallel.row_format = format;
      const GenerationResult exact = draw(encoded, ranks);
      for (const auto& [dtype, bound] :
           {std::pair{DataType::float16, 0.02}, std::pair{DataType::bfloat16, 0.1}}) {
        const double distance =
            relative_distance(draw(encoded, ranks, dtype).latents, exact.latents);
        const std::string which = fmt::format("{}, {} ranks{}", name_of(dtype), ranks,
                                              format == RowFormat::int4 ? ", int4" : "");
        EXPECT_GT(distance, 0) << which;
        EXPECT_LE(distance, bound) << which;
      }
    }
  }
}

TEST_F(GpuTest, PooledTokensInSixteenBitsStayNearFloat32WithoutCudnn) {
  GenerationRequest pooled = request();
  pooled.parallel.pool = 5;
  bool has_cudnn = true;
  pooled.on_step = [&](const StepProgress& /*progress*/) {
    has_cudnn = at::globalContext().userEnabledCuDNNSDP();
  };
  const double distance =
      relative_distance(draw(pooled, 3, DataType::float16).latents, draw(pooled, 3).latents);
  EXPECT_FALSE(has_cudnn);
  EXPECT_GT(distance, 0);
  EXPECT_LE(distance, 0.02);
}

TEST_F(GpuTest, AttentionTakesTheKernelThatIsAskedFor) {
  GenerationRequest one_step = request();
  one_step.steps = 1;
  PipelineOptions loading;
  loading.attention = GpuAttention::math;
  Pipeline pipeline(test_data("patch"), World::cuda({0}, 2), loading);
  bool is_alone = false;
  one_step.on_step = [&](const StepProgress&) {
    is_alone = !at::globalContext().userEnabledFlashSDP();
  };
  const GenerationResult result = pipeline.generate(one_step);
  EXPECT_TRUE(is_alone);
  EXPECT_TRUE(at::globalContext().userEnabledFlashSDP());
  EXPECT_LE(relative_distance(result.latents, draw(one_step, 2).latents), kTolerance);
}

std::string failure_of(Pipeline& pipeline, const GenerationRequest& request) {
  try {
    pipeline.generate(request);
  } catch (const DeviceError& error) {
    return error.what();
  }
  return "no error";
}

TEST_F(GpuTest, ARankThatThrowsEndsTheOthersAndTheNextRequestWorks) {
  Pipeline pipeline(test_data("patch"), World::cuda({0}, 3));
  GenerationRequest failing = request();
  failing.on_step = [](const StepProgress& progress) {
    if (progress.step == 2) throw DeviceError("lost");
  };
  EXPECT_EQ(failure_of(pipeline, failing), "rank 0: lost");
  failing.steps = request_with_graphs().steps;
  failing.on_step = [](const StepProgress& progress) {
    // The others are in the middle of a step that repeats, or will be.
    if (progress.step == 6) throw DeviceError("lost amid graphs");
  };
  EXPECT_EQ(failure_of(pipeline, failing), "rank 0: lost amid graphs");
  failing.on_step = [](const StepProgress&) {
    TORCH_CHECK_WITH(OutOfMemoryError, false, "no 2 GiB left");
  };
  EXPECT_TRUE(failure_of(pipeline, failing).starts_with("rank 0: out of memory on cuda:0"));
  EXPECT_NO_THROW(pipeline.generate(request()));
}

TEST_F(GpuTest, LacksNothingThatIsAskedForWithoutAReason) {
  testing::expect_error<ConfigError>([] { World::cuda({4711}); },
                                     {"cuda:4711: there is no such GPU"});
  testing::expect_error<ConfigError>([] { World::cuda({0, 0}); }, {"named twice"});
  testing::expect_error<ConfigError>([] { World::cuda({0}, 2, GpuTransport::nccl); },
                                     {"2 ranks on 1 GPUs: NCCL takes one rank a GPU"});
}

TEST_F(GpuTest, AnAutomaticRequestWithoutAProfileMeasuresTheRanks) {
  GenerationRequest automatic = request();
  automatic.automatic = true;
  const GenerationResult result = draw(automatic, 1);
  ASSERT_TRUE(result.chosen);
  EXPECT_GT(result.chosen->step_ms, 0);
  EXPECT_EQ(result.latents.values, draw(request(), 1).latents.values);
}

TEST_F(GpuTest, AMeasuredProfileIsOfTheGpusAndTheirLink) {
  PlanRequest request;
  request.width = request.height = 64;
  request.guided = false;
  request.devices = 2;
  const DeviceProfile profile =
      measure_profile(test_data("patch"), request, DataType::float16, World::cuda({0}, 2));
  EXPECT_TRUE(profile.measured);
  EXPECT_EQ(profile.dtype, DataType::float16);
  EXPECT_TRUE(profile.source.starts_with(World::gpu_name(0) + ", 2 ranks on cuda:0"));
  EXPECT_THROW(World::gpu_name(-1), ConfigError);
  EXPECT_GT(profile.memory_bytes, 1 << 30);
  ASSERT_TRUE(profile.link);
  EXPECT_GT(profile.link->bytes_per_second, 0);
  EXPECT_GT(profile.link->latency_seconds, 0);
  for (const RateCurve& curve : profile.curves) {
    if (curve.kind == WorkKind::gather || curve.kind == WorkKind::elementwise) continue;
    for (const RateCurve::Point& point : curve.points) EXPECT_GT(point.seconds, 0) << curve.shape;
  }
  const Plan plan = make_plan(test_data("patch"), request, profile);
  for (const PlannedRun& run : plan.runs) EXPECT_GT(run.step_ms, 0);
}

// Where cuDNN keeps its plans.
TEST_F(GpuTest, TheNextRequestsRanksHaveTheSameThreads) {
  Pipeline drawing = pipeline(2, options(DataType::float32));
  std::vector<pid_t> threads;
  for (int i = 0; i < 2; ++i) {
    GenerationRequest observed = request();
    observed.on_step = [&](const StepProgress& /*progress*/) { threads.push_back(gettid()); };
    drawing.generate(observed);
  }
  EXPECT_EQ(std::set(threads.begin(), threads.end()).size(), 1U);
  EXPECT_NE(threads.front(), gettid());
}

TEST_F(GpuTest, BehindAFailureRanksHaveOtherThreads) {
  Pipeline drawing = pipeline(2, options(DataType::float32));
  int steps_of_thread = 0;
  bool fails = true;
  GenerationRequest observed = request();
  observed.on_step = [&](const StepProgress& /*progress*/) {
    thread_local int own = 0;
    steps_of_thread = ++own;
    if (fails) throw DeviceError("no plan");
  };
  EXPECT_EQ(failure_of(drawing, observed), "rank 0: no plan");
  fails = false;
  drawing.generate(observed);
  EXPECT_EQ(steps_of_thread, observed.steps);
}

TEST_F(GpuTest, RanksGoRoundTheGpus) {
  EXPECT_EQ(World::cuda({0}).ranks(), 1);
  const World world = World::cuda({0}, 3);
  EXPECT_EQ(world.gpus(), (std::vector<int>{0, 0, 0}));
  EXPECT_EQ(world.device(), "cuda:0");
  EXPECT_EQ(World::cuda().ranks(), World::gpu_count());
  if (World::gpu_count() < 3) return;
  EXPECT_EQ(World::cuda({2, 0}, 3).gpus(), (std::vector<int>{2, 0, 2}));
}

}  // namespace
}  // namespace pcpp
