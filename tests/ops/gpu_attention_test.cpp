#include "ops/gpu_attention.h"

#include <ATen/Context.h>
#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <chrono>
#include <optional>
#include <stop_token>
#include <thread>
#include <utility>

#include "pcpp/error.h"
#include "support/errors.h"
#include "support/tensors.h"

namespace pcpp {
namespace {

using namespace std::chrono_literals;

// flash, efficient, cudnn, math
std::array<bool, 4> allowed() {
  const at::Context& context = at::globalContext();
  return {context.userEnabledFlashSDP(), context.userEnabledMemEfficientSDP(),
          context.userEnabledCuDNNSDP(), context.userEnabledMathSDP()};
}

TEST(GpuAttentionScope, AllowsOneKernelAndBringsBackWhatItFound) {
  at::globalContext().setSDPUseCuDNN(false);
  const std::array<bool, 4> before = allowed();
  const std::array kernels = {GpuAttention::flash, GpuAttention::efficient, GpuAttention::cudnn,
                              GpuAttention::math};
  for (std::size_t i = 0; i < kernels.size(); ++i) {
    std::array<bool, 4> expected = {};
    expected[i] = true;
    const GpuAttentionScope scope({kernels[i]}, 0ms);
    EXPECT_EQ(allowed(), expected) << name_of(kernels[i]);
  }
  EXPECT_EQ(allowed(), before);
  {
    const GpuAttentionScope scope({GpuAttention::automatic}, 0ms);
    EXPECT_EQ(allowed(), before);
  }
  at::globalContext().setSDPUseCuDNN(true);
}

TEST(GpuAttentionScope, GivesCudnnNoMasksButThoseOfWhoAsksForIt) {
  const std::array<bool, 4> before = allowed();
  {
    const GpuAttentionScope scope({.masked = true}, 0ms);
    EXPECT_EQ(allowed(), (std::array<bool, 4>{before[0], before[1], false, before[3]}));
    testing::expect_error<ConfigError>([] { GpuAttentionScope other({}, 0ms); },
                                       {"attention auto over pooled tokens"});
  }
  EXPECT_EQ(allowed(), before);
  const GpuAttentionScope scope({GpuAttention::cudnn, true}, 0ms);
  EXPECT_EQ(allowed(), (std::array<bool, 4>{false, false, true, false}));
  EXPECT_NO_THROW(GpuAttentionScope({GpuAttention::cudnn}, 0ms));
}

TEST(GpuAttentionScope, IsSharedByThoseWhoAgree) {
  const std::array<bool, 4> before = allowed();
  std::optional<GpuAttentionScope> first(std::in_place, AttentionChoice{GpuAttention::math}, 0ms);
  const std::array<bool, 4> during = allowed();
  std::optional<GpuAttentionScope> second(std::in_place, AttentionChoice{GpuAttention::math}, 0ms);
  EXPECT_THROW(GpuAttentionScope other({GpuAttention::flash}, 0ms), ConfigError);
  EXPECT_THROW(GpuAttentionScope other({GpuAttention::automatic}, 0ms), ConfigError);
  first.reset();
  EXPECT_EQ(allowed(), during);
  second.reset();
  EXPECT_EQ(allowed(), before);
}

TEST(GpuAttentionScope, WaitsForTheEndOfThoseWhoDoNot) {
  std::optional<GpuAttentionScope> first(std::in_place, AttentionChoice{GpuAttention::math}, 0ms);
  std::atomic<bool> first_ends = false;
  std::jthread other([&] {
    const GpuAttentionScope scope({GpuAttention::flash}, 1h);
    EXPECT_TRUE(first_ends);
    EXPECT_EQ(allowed(), (std::array{true, false, false, false}));
  });
  first_ends = true;
  first.reset();
}

// Else requests that agree and overlap would keep it waiting for ever.
TEST(GpuAttentionScope, NobodyGoesAheadOfOneWhoWaits) {
  std::optional<GpuAttentionScope> first(std::in_place, AttentionChoice{GpuAttention::math}, 0ms);
  std::jthread other([] { const GpuAttentionScope scope({GpuAttention::flash}, 1h); });
  const auto deadline = std::chrono::steady_clock::now() + 30s;
  bool refused = false;
  while (!refused && std::chrono::steady_clock::now() < deadline) {
    try {
      const GpuAttentionScope newcomer({GpuAttention::math}, 0ms);
    } catch (const ConfigError&) {
      refused = true;  // the other has come to wait meanwhile
    }
  }
  EXPECT_TRUE(refused);
  first.reset();
}

TEST(GpuAttentionScope, WaitsNoLongerOnceAStopIsRequested) {
  const GpuAttentionScope first({GpuAttention::math}, 0ms);
  std::stop_source stop;
  std::jthread other([&] {
    EXPECT_THROW(GpuAttentionScope scope({GpuAttention::flash}, 1h, stop.get_token()), Cancelled);
  });
  stop.request_stop();
  other.join();
}

// On tensors of a CPU, where libtorch has two of the kernels.
TEST(GpuAttention, IsTheSameByEveryKernelAndRefusedByNameWhereThereIsNone) {
  const at::Tensor query = random_tensor(1, {2, 3, 5, 8});
  const at::Tensor key = random_tensor(2, {2, 3, 7, 8});
  const at::Tensor value = random_tensor(3, {2, 3, 7, 8});
  const at::Tensor mask = random_tensor(4, {1, 1, 1, 7});
  for (const at::Tensor& added : {at::Tensor(), mask}) {
    const at::Tensor expected = gpu_attention(query, key, value, added);
    for (const GpuAttention kernel : {GpuAttention::flash, GpuAttention::math}) {
      const GpuAttentionScope scope({kernel}, 0ms);
      EXPECT_LT(relative_error(gpu_attention(query, key, value, added), expected), 1e-6);
    }
  }
  const GpuAttentionScope scope({GpuAttention::efficient}, 0ms);
  testing::expect_error<ConfigError>(
      [&] { gpu_attention(query, key, value, mask); },
      {"attention efficient does not serve heads of 8 elements in Float with pooled tokens on this "
       "GPU: take auto"});
}

}  // namespace
}  // namespace pcpp
