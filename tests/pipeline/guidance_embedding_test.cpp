// U-Nets that are told the guidance scale. That their pictures are diffusers' is in
// diffusers_test.cpp.

#include <gtest/gtest.h>

#include <filesystem>

#include "io/files.h"
#include "pipeline/references.h"

namespace pcpp {
namespace {

class GuidanceEmbedding : public ::testing::Test {
 protected:
  GuidanceEmbedding() {
    write_changed_model(model(), "sd15",
                        load_tensors(test_data("seeded/sd15_told_lcm.safetensors")));
  }

  std::filesystem::path model() const { return place_.path() / "model"; }

  testing::TemporaryFolder place_;
};

TEST_F(GuidanceEmbedding, IsTheSameOnAllRanks) {
  GenerationRequest request = two_tall_pictures();
  request.scheduler = SchedulerKind::lcm;
  request.parallel.sync_steps = request.steps;
  request.decode = false;
  const GenerationResult whole = Pipeline(model(), World(1, 1)).generate(request);
  Pipeline two(model(), World(2, 1));
  EXPECT_LE(relative_distance(two.generate(request).latents, whole.latents), 2e-5);
  for (const double scale : {7.0, 0.5}) {
    request.guidance_scale = scale;
    EXPECT_GE(relative_distance(two.generate(request).latents, whole.latents), 0.01) << scale;
  }
}

TEST_F(GuidanceEmbedding, IsPlannedAsOneBranch) {
  GenerationRequest request = two_tall_pictures();
  request.automatic = true;
  EXPECT_TRUE(Pipeline(model(), World(2, 1)).generate(request).chosen.has_value());
  PlanRequest asked;
  asked.devices = 2;
  const DeviceProfile& profile = DeviceProfile::named("a100-nvlink");
  const Plan guided = make_plan(model(), asked, profile);
  EXPECT_FALSE(guided.guided);
  asked.guided = false;
  const Plan plain = make_plan(model(), asked, profile);
  EXPECT_EQ(guided.runs.front().mean_flops, plain.runs.front().mean_flops);
  asked.guided = true;
  EXPECT_TRUE(make_plan(test_data("models/sd15"), asked, profile).guided);
}

}  // namespace
}  // namespace pcpp
