// The requests and methods that are drawn with device cuda.
#ifndef PCPP_TESTS_PIPELINE_GPU_CASES_H_
#define PCPP_TESTS_PIPELINE_GPU_CASES_H_

#include <gtest/gtest.h>

#include <cstddef>
#include <ostream>
#include <string>
#include <vector>

#include "pipeline/on_gpus.h"
#include "pipeline/references.h"

namespace pcpp {

// float32, of other sums in another order; one token read too many moves the latents by 7e-4.
inline constexpr double kTolerance = 1e-4;

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

inline std::vector<MethodCase> method_cases() {
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

// Every bit of every step, and every byte that was sent.
inline void expect_equal(const GenerationResult& actual, const GenerationResult& expected) {
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

}  // namespace pcpp

#endif  // PCPP_TESTS_PIPELINE_GPU_CASES_H_
