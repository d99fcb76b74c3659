// What only GPUs that fail, fill up or stand still can show, and two of them, on fake ones.

#include "support/fake_gpus.h"

#include <ATen/Context.h>
#include <c10/util/ScopeExit.h>
#include <gtest/gtest.h>

#include <chrono>
#include <future>
#include <map>
#include <string>
#include <vector>

#include "gpu/gpu.h"
#include "ops/gpu_attention.h"
#include "pipeline/references.h"
#include "support/errors.h"
#include "support/fake_nccl.h"
#include "support/host_operators.h"

namespace pcpp {
namespace {

using testing::fake_gpus;

class FakeGpus : public ::testing::Test {
 protected:
  // Synchronous, steady, recorded and repeated steps, and the last.
  static GenerationRequest request() {
    GenerationRequest request = patch_request("inputs_32x12.safetensors");
    request.steps = 8;
    request.keep_steps = false;
    request.parallel.sync_steps = 1;
    return request;
  }
  static Pipeline pipeline(std::vector<int> gpus = {0, 1}, int ranks = 2) {
    return {test_data("patch"), World::cuda(std::move(gpus), ranks)};
  }
};

TEST_F(FakeGpus, TwoDrawTheBitsOfOne) {
  std::vector<ParallelConfig> configs(3, ParallelConfig::pcpp());
  configs[1].row_format = RowFormat::int4;
  configs[1].pool = 5;
  configs[2] = ParallelConfig::distrifusion();
  Pipeline one = pipeline({0}, 3);
  Pipeline two = pipeline({0, 1}, 3);
  for (std::size_t i = 0; i < configs.size(); ++i) {
    GenerationRequest drawn = request();
    drawn.parallel = configs[i];
    drawn.parallel.sync_steps = 1;
    const std::vector<float> expected = one.generate(drawn).latents.values;
    for (const bool peer_access : {true, false}) {
      fake_gpus().set_options({.schedule = testing::Schedule::random, .peer_access = peer_access});
      EXPECT_EQ(two.generate(drawn).latents.values, expected)
          << i << ", peer access " << peer_access;
    }
  }
}

TEST_F(FakeGpus, NcclDrawsTheBitsOfPeers) {
  for (const bool graphs : {true, false}) {
    const testing::FakeNccl nccl;
    PipelineOptions options;
    options.cuda_graphs = graphs;
    Pipeline by_nccl(test_data("patch"), World::cuda({0, 1}, 2, GpuTransport::nccl), options);
    Pipeline by_peers(test_data("patch"), World::cuda({0, 1}, 2), options);
    for (const GroupNormMode mode : {GroupNormMode::corrected, GroupNormMode::synchronous}) {
      GenerationRequest drawn = request();
      drawn.parallel.group_norm = mode;
      EXPECT_EQ(by_nccl.generate(drawn).latents.values, by_peers.generate(drawn).latents.values)
          << "graphs " << graphs << ", GroupNorm " << static_cast<int>(mode);
    }
  }
}

TEST_F(FakeGpus, AnotherAttentionTakesThePlaceOfCudnnsWhereThatFails) {
  at::Context& context = at::globalContext();
  PipelineOptions options;
  options.dtype = DataType::float16;
  const auto load = [&] { return Pipeline(test_data("patch"), World::cuda({0, 1}, 2), options); };
  const std::vector<float> expected = load().generate(request()).latents.values;
  EXPECT_TRUE(context.userEnabledCuDNNSDP());
  testing::let_cudnn_attention_fail(true);
  const auto restored = c10::make_scope_exit([&] {
    testing::let_cudnn_attention_fail(false);
    context.setSDPUseCuDNN(true);
  });
  EXPECT_EQ(load().generate(request()).latents.values, expected);
  {
    const GpuAttentionScope named({GpuAttention::cudnn}, std::chrono::milliseconds(0));
    EXPECT_TRUE(context.userEnabledCuDNNSDP());
  }
  EXPECT_FALSE(context.userEnabledCuDNNSDP());
}

// Ahead of each timed step.
TEST_F(FakeGpus, AreKeptBusyWhileStepsAreTimed) {
  const int before = testing::occupations();
  GenerationRequest automatic = request();
  automatic.automatic = true;
  EXPECT_TRUE(pipeline({0}, 1).generate(automatic).chosen);
  EXPECT_GE(testing::occupations() - before, 2 * 2);  // two rounds of two steps at least
}

// As long as a rank's half of an exchange may wait on its device for a peer's that is not launched:
// neither ahead of graphs nor by another pipeline that ends.
TEST_F(FakeGpus, GiveNoMemoryBackAmidStepsByNccl) {
  const testing::FakeNccl nccl;
  std::vector<int> freed;
  GenerationRequest drawn = request();
  drawn.on_step = [&](const StepProgress&) {
    freed.push_back(fake_gpus().calls("cudaFree"));
    gpus().release_memory();
  };
  Pipeline by_nccl(test_data("patch"), World::cuda({0, 1}, 2, GpuTransport::nccl));
  by_nccl.generate(drawn);
  EXPECT_EQ(freed, std::vector<int>(freed.size(), freed.front()));
}

// A pipeline is loaded, and reads its prompts, whatever kernel another one's ranks have taken.
TEST_F(FakeGpus, WaitForOthersAttentionWhereTheyAttend) {
  const auto held = [](GpuAttention kernel) {
    return GpuAttentionScope({kernel}, std::chrono::milliseconds(0));
  };
  std::optional<Pipeline> loaded;
  for (const GpuAttention kernel : {GpuAttention::cudnn, GpuAttention::flash}) {
    const GpuAttentionScope others = held(kernel);
    EXPECT_NO_THROW(loaded.emplace(test_data("models/sd15"), World::cuda({0, 1}, 2)));
  }
  GenerationRequest drawn = two_tall_pictures();
  const FloatTensor expected = loaded->generate(drawn).latents;
  {
    const GpuAttentionScope others = held(GpuAttention::flash);
    drawn.peer_timeout = std::chrono::milliseconds(1);
    testing::expect_error<ConfigError>([&] { loaded->generate(drawn); },
                                       {"attention auto", "with attention flash"});
  }
  EXPECT_EQ(loaded->generate(two_tall_pictures()).latents.values, expected.values);
}

// One captures while the other allocates, copies, frees, and is made anew.
TEST_F(FakeGpus, PipelinesAtOnceDrawWhatTheyDrawAlone) {
  const std::vector<float> expected = pipeline().generate(request()).latents.values;
  const auto draw = [&] {
    for (int times = 0; times < 2; ++times) {
      Pipeline drawing = pipeline();
      EXPECT_EQ(drawing.generate(request()).latents.values, expected);
      EXPECT_EQ(drawing.generate(request()).latents.values, expected);
    }
  };
  fake_gpus().set_options({.schedule = testing::Schedule::random});
  auto first = std::async(std::launch::async, draw);
  auto second = std::async(std::launch::async, draw);
  first.get();
  second.get();
}

// How often each of the functions has been called after each step.
std::map<int, std::vector<int>> calls_by_step(Pipeline& drawing, GenerationRequest request,
                                              const std::vector<std::string>& functions) {
  std::map<int, std::vector<int>> calls;
  request.on_step = [&](const StepProgress& progress) {
    for (const std::string& function : functions) {
      calls[progress.step].push_back(fake_gpus().calls(function));
    }
  };
  drawing.generate(request);
  return calls;
}

// Between two steady steps a host may ask how far a device is, and not wait for it.
TEST_F(FakeGpus, SteadyStepsDoNotHoldTheHost) {
  for (const bool graphs : {true, false}) {
    GenerationRequest drawn = request();
    drawn.steps = 12;
    PipelineOptions options;
    options.cuda_graphs = graphs;
    Pipeline drawing(test_data("patch"), World::cuda({0, 1}, 2), options);
    const auto calls = calls_by_step(drawing, drawn,
                                     {"cudaStreamSynchronize", "cudaDeviceSynchronize",
                                      "cudaMemcpy", "cudaMalloc", "cudaFree", "cudaHostAlloc"});
    EXPECT_EQ(calls.at(11), calls.at(6)) << "graphs " << graphs;
  }
}

// It may need memory then, which the host does not wait for either.
TEST_F(FakeGpus, ControlNetsThatBeginLateDoNotHoldTheHost) {
  GenerationRequest drawn = two_tall_pictures();
  drawn.prompts.resize(1);
  drawn.height = 128;
  drawn.steps = 6;
  drawn.parallel.sync_steps = 1;
  drawn.decode = false;
  drawn.controls = {{{striped(64, 128, 3)}, 0.8, 0.5, 1}};
  PipelineOptions options;
  options.cuda_graphs = false;
  options.controlnets = {test_data("control/sd15")};
  Pipeline drawing(test_data("models/sd15"), World::cuda({0}, 1), options);
  const auto calls = calls_by_step(
      drawing, drawn, {"cudaStreamSynchronize", "cudaDeviceSynchronize", "cudaMemcpy"});
  EXPECT_EQ(calls.at(5), calls.at(2));
}

TEST_F(FakeGpus, TakeNoBatchBeyondAGridsExtents) {
  Pipeline drawing = pipeline();
  GenerationRequest drawn = request();
  drawn.latents.reset();
  drawn.images_per_prompt = 32768;
  testing::expect_error<ConfigError>([&] { drawing.generate(drawn); },
                                     {"65536 images", "65535 at most"});
}

TEST_F(FakeGpus, RequestsLeaveNothing) {
  const auto held = [] {
    return std::vector{fake_gpus().used_bytes(0), fake_gpus().used_bytes(1),
                       fake_gpus().live_handles()};
  };
  const testing::FakeNccl nccl;
  for (const GpuTransport transport : {GpuTransport::peer, GpuTransport::nccl}) {
    SCOPED_TRACE(name_of(transport));
    Pipeline drawing(test_data("patch"), World::cuda({0, 1}, 2, transport));
    const auto before = held();
    drawing.generate(request());
    EXPECT_EQ(held(), before);
    drawing.generate(request());
    EXPECT_EQ(held(), before);
  }
}

// Each of the runtime's calls that a request makes, failing once; libtorch itself tries once more
// where memory has run out.
TEST_F(FakeGpus, AnyCallThatFailsEndsTheRequestAndTheNextWorks) {
  const std::vector<const char*> functions = {"cudaMalloc",
                                              "cudaLaunchKernel",
                                              "cudaMemcpyBatchAsync",
                                              "cudaMemcpyAsync",
                                              "cudaMemsetAsync",
                                              "cudaEventCreateWithFlags",
                                              "cudaEventRecord",
                                              "cudaStreamWaitEvent",
                                              "cudaStreamCreateWithPriority",
                                              "cudaStreamBeginCapture",
                                              "cudaStreamEndCapture",
                                              "cudaGraphInstantiate",
                                              "cudaGraphLaunch",
                                              "cudaGraphGetNodes",
                                              "cudaDeviceEnablePeerAccess",
                                              "cudaDeviceCanAccessPeer"};
  Pipeline drawing = pipeline();
  const std::vector<float> expected = drawing.generate(request()).latents.values;
  std::map<std::string, int> calls;
  for (const char* function : functions) calls[function] = -fake_gpus().calls(function);
  drawing.generate(request());
  for (const char* function : functions) calls[function] += fake_gpus().calls(function);
  for (const std::string function : functions) {
    ASSERT_GT(calls[function], 0) << function;
    const auto error = function == "cudaMalloc" ? cudaErrorUnknown : cudaErrorMemoryAllocation;
    for (const int call : {0, calls[function] / 2, calls[function] - 1}) {
      fake_gpus().fail(function, error, call);
      EXPECT_THROW(drawing.generate(request()), DeviceError) << function << ", call " << call;
      fake_gpus().recover();
    }
    EXPECT_EQ(drawing.generate(request()).latents.values, expected) << function;
  }
}

// From the text encoder to the VAE's decoder.
TEST_F(FakeGpus, AFailureInAnyPartOfAPictureEndsItAndTheNextWorks) {
  GenerationRequest asked = two_tall_pictures();
  asked.steps = 10;
  asked.parallel.sync_steps = 1;
  asked.init_images = {striped(64, 192, 3)};
  asked.controls = {{.images = {striped(64, 192, 3)}}};
  PipelineOptions options;
  options.controlnets = {test_data("control/sd15")};
  Pipeline drawing(test_data("models/sd15"), World::cuda({0, 1}, 2), options);
  const int before = fake_gpus().calls("cudaLaunchKernel");
  drawing.generate(asked);  // loads what is not there yet
  const int launches = fake_gpus().calls("cudaLaunchKernel") - before;
  const Image expected = drawing.generate(asked).images[1];
  for (int part = 0; part < 8; ++part) {
    fake_gpus().fail("cudaLaunchKernel", cudaErrorUnknown, launches * part / 9);
    EXPECT_THROW(drawing.generate(asked), DeviceError) << part;
    fake_gpus().recover();
  }
  EXPECT_EQ(drawing.generate(asked).images[1].rgb, expected.rgb);
}

// When some of a step's graphs are there and the rank captures the next.
TEST_F(FakeGpus, AFailureInTheMiddleOfARecordingEndsIt) {
  Pipeline drawing = pipeline();
  const std::vector<float> expected = drawing.generate(request()).latents.values;
  GenerationRequest failing = request();
  failing.on_step = [](const StepProgress& progress) {
    if (progress.step == 3) fake_gpus().fail("cudaLaunchKernel", cudaErrorUnknown, 100);
  };
  EXPECT_THROW(drawing.generate(failing), DeviceError);
  EXPECT_EQ(drawing.generate(request()).latents.values, expected);
}

TEST_F(FakeGpus, ALostOneIsToldOf) {
  Pipeline drawing = pipeline();
  for (const int launches : {0, 40, 400, 1500, 2500}) {
    fake_gpus().fail("cudaLaunchKernel", cudaErrorECCUncorrectable, launches, true);
    testing::expect_error<DeviceError>([&] { drawing.generate(request()); },
                                       {"again", "the device's own report"});
    EXPECT_THROW(drawing.generate(request()), DeviceError) << launches;
    fake_gpus().recover();
  }
  EXPECT_NO_THROW(drawing.generate(request()));
}

TEST_F(FakeGpus, MemoryThatRunsOutIsToldOf) {
  Pipeline drawing = pipeline();
  const std::vector<float> expected = drawing.generate(request()).latents.values;
  const std::size_t used = fake_gpus().used_bytes(0);
  GenerationRequest larger = request();
  larger.latents.reset();
  larger.height = 1024;
  larger.width = 1024;
  fake_gpus().set_options({.memory_bytes = used + (std::size_t{8} << 20)});
  testing::expect_error<DeviceError>([&] { drawing.generate(larger); },
                                     {"rank ", "out of memory", "smaller picture"});
  EXPECT_EQ(drawing.generate(request()).latents.values, expected);
}

TEST_F(FakeGpus, OneThatStandsStillEndsTheRequestByTheDeadline) {
  Pipeline drawing = pipeline();
  drawing.generate(request());
  GenerationRequest stuck = request();
  stuck.peer_timeout = std::chrono::seconds(2);
  stuck.on_step = [](const StepProgress& progress) {
    if (progress.step == 3) fake_gpus().set_options({.stalled_device = 1});
  };
  EXPECT_THROW(drawing.generate(stuck), Error);
  testing::expect_error<DeviceError>([&] { drawing.generate(request()); },
                                     {"a GPU of cuda:0,1", "restart the process"});
  fake_gpus().set_options({});
  EXPECT_NO_THROW(pipeline().generate(request()));
}

}  // namespace
}  // namespace pcpp
