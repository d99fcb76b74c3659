// A transport's delays change the time, never the picture.

#include "pipeline/denoise.h"

#include <c10/core/InferenceMode.h>
#include <gtest/gtest.h>

#include <mutex>

#include "io/checkpoint.h"
#include "io/json_file.h"
#include "parallel/rank_group.h"
#include "pipeline/references.h"
#include "pipeline/tensors.h"
#include "support/couriers.h"

namespace pcpp {
namespace {

constexpr int kRanks = 3;

struct Setting {
  UNet unet;
  std::unique_ptr<Scheduler> scheduler;
  GenerationRequest request;
};

Setting load_setting() {
  const c10::InferenceMode inference;
  const Component component = Checkpoint::open(test_data("patch")).component("unet");
  Setting setting{
      UNet(read_unet_config(component.config()), WeightScope(component.weights(), at::kFloat)),
      make_scheduler(read_json_file(test_data("patch/scheduler/scheduler_config.json")), "patch",
                     {}, OutdatedValues::keep),
      patch_request("inputs_32x12.safetensors")};
  setting.scheduler->set_steps(setting.request.steps);
  return setting;
}

// The final latents of every rank, under the hub's delays.
std::vector<FloatTensor> draw(const Setting& setting, const ParallelConfig& parallel, Hub& hub) {
  const GenerationRequest& request = setting.request;
  const FloatTensor& start = *request.latents;
  const Topology topology(kRanks, parallel.guidance, 2, start.shape[2], setting.unet.row_unit());
  const Phase phase{{0, request.steps},
                    true,
                    ExchangePlan(setting.unet.sites().sites(), topology, parallel,
                                 {start.shape[2], start.shape[3], 4, 1})};
  const c10::InferenceMode outer;
  const DenoiseTask task{
      .scheduler = *setting.scheduler,
      .parallel = parallel,
      .conditions = given_conditions(request, setting.unet.config().text_width, 0, true),
      .time_ids = {},
      .guidance_scale = request.guidance_scale.value(),
      .dtype = at::kFloat,
      .peer_timeout = std::chrono::minutes(1),
      .stop = {},
      .on_step = {},
      .trace_zero = {}};
  std::vector<FloatTensor> results(kRanks);
  run_ranks(hub, [&](Transport& transport) {
    const c10::InferenceMode inference;
    const RunState begin{to_tensor(start, "latents"), {}};
    results[static_cast<std::size_t>(transport.rank())] =
        to_host(denoise(task, phase, setting.unet, transport, begin, false).end.latents);
  });
  return results;
}

class DelayTest : public ::testing::TestWithParam<const char*> {
 protected:
  static ParallelConfig parallel() {
    const std::string name = GetParam();
    ParallelConfig config =
        name == "distrifusion" ? ParallelConfig::distrifusion() : ParallelConfig::pcpp();
    if (name == "int4") config.row_format = RowFormat::int4;
    config.sync_steps = 2;
    return config;
  }
};

TEST_P(DelayTest, ChangeNoBitOfThePictureOnAnyRank) {
  const Setting setting = load_setting();
  LocalHub direct(kRanks);
  LocalHub again(kRanks);
  testing::LazyHub lazy(kRanks);
  testing::RandomCourier courier(3);
  LocalHub random(kRanks, &courier);
  const std::vector<FloatTensor> expected = draw(setting, parallel(), direct);
  for (Hub* hub : std::initializer_list<Hub*>{&again, &lazy, &random}) {
    const std::vector<FloatTensor> delayed = draw(setting, parallel(), *hub);
    for (const FloatTensor& latents : delayed) EXPECT_EQ(latents.values, expected.front().values);
  }
}

INSTANTIATE_TEST_SUITE_P(Methods, DelayTest, ::testing::Values("pcpp", "distrifusion", "int4"),
                         [](const auto& suite) { return std::string(suite.param); });

}  // namespace
}  // namespace pcpp
