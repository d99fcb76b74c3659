// The cases of bench_kernels for GPUs, with emulated kernels and libtorch's functions for CPUs.

#include <ATen/Context.h>
#include <c10/core/InferenceMode.h>
#include <gtest/gtest.h>

#include <set>
#include <string>
#include <vector>

#include "benchmarks/gpu_timer.h"
#include "benchmarks/kernel_case.h"

namespace pcpp::benchmarks {
namespace {

const GpuStream kEmulated{at::TensorOptions(at::kCPU), nullptr};

struct Expected {
  std::string kernel;
  std::string shape;
  double float16_bytes;
  double float32_bytes;
};

// A small shape of each kernel.
const std::vector<Expected> kExpected = {
    {"group_norm's moments", "SD1.5 512x512: 2 x 1280 at 8x8", 327680, 655360},
    {"group_norm's apply, SiLU", "SD1.5 512x512: 2 x 1280 at 8x8", 655360, 1310720},
    {"group_norm, SiLU", "SD1.5 512x512: 2 x 1280 at 8x8", 983040, 1966080},
    {"add_image", "SD1.5 512x512: 2 x 1280 at 8x8", 983040, 1966080},
    {"geglu", "SD1.5 512x512: 512 x 5120", 15728640, 31457280},
    {"layer_norm of a sum", "SD1.5 512x512: 512 x 1280", 5242880, 10485760},
    {"guided_step", "SD1.5 512x512: 16384", 196608, 262144},
    {"copy_rows", "SD1.5 512x512, keys: 2 x 19 of 64 rows of 2560", 389120, 778240},
    {"encode_rows", "SD1.5 512x512, keys: 2 x 19 of 64 rows of 2560", 294880, 489440},
    {"decode_rows", "SD1.5 512x512, keys: 2 x 19 of 64 rows of 2560", 294880, 489440},
    {"encode_residual", "SD1.5 512x512, keys: 2 x 19 of 64 rows of 2560", 635360, 1219040},
    {"add_residual", "SD1.5 512x512, keys: 2 x 19 of 64 rows of 2560", 440800, 829920}};

// Of float64 alone.
const std::vector<Expected> kExpectedMoments = {
    {"combine_moments", "2 x 32 groups of 4 bands", 6144, 6144},
    {"encode_moments", "2 x 32 groups", 1280, 1280},
    {"decode_moments", "2 x 32 groups", 1280, 1280}};

std::vector<KernelCase> all_cases() {
  std::vector<KernelCase> cases = gpu_cases(kEmulated);
  for (KernelCase& which : gpu_row_cases(kEmulated)) cases.push_back(std::move(which));
  return cases;
}

void expect_case(const std::vector<KernelCase>& cases, const Expected& expected,
                 const std::string& dtype) {
  SCOPED_TRACE(expected.kernel + " " + dtype);
  int found = 0;
  for (const KernelCase& which : cases) {
    if (which.kernel != expected.kernel || which.shape != expected.shape || which.dtype != dtype) {
      continue;
    }
    ++found;
    const KernelRun run = which.prepare();
    EXPECT_EQ(run.bytes, dtype == "float32" ? expected.float32_bytes : expected.float16_bytes);
    EXPECT_EQ(run.reread_bytes, which.kernel == "group_norm, SiLU" ? run.bytes / 3 : 0);
    EXPECT_LE(relative_error(run), run.relative_bound);
  }
  EXPECT_EQ(found, 1);
}

TEST(GpuCases, ComputeWhatLibtorchDoesAndCountEachByteOnce) {
  const c10::InferenceMode inference;
  const std::vector<KernelCase> cases = all_cases();
  std::set<std::string> kernels;
  for (const Expected& expected : kExpected) {
    kernels.insert(expected.kernel);
    for (const char* dtype : {"float16", "bfloat16", "float32"}) {
      expect_case(cases, expected, dtype);
    }
  }
  for (const Expected& expected : kExpectedMoments) {
    kernels.insert(expected.kernel);
    expect_case(cases, expected, "float64");
  }
  for (const KernelCase& which : cases) EXPECT_TRUE(kernels.contains(which.kernel)) << which.kernel;
}

TEST(GpuCases, ResidualsAreThereToEncodeEveryTime) {
  const c10::InferenceMode inference;
  for (const KernelCase& which : gpu_row_cases(kEmulated)) {
    if (which.kernel != "encode_residual" || which.dtype != "float32" ||
        which.shape != "SD1.5 512x512, keys: 2 x 19 of 64 rows of 2560") {
      continue;
    }
    const KernelRun run = which.prepare();
    for (const auto& way : {run.ours, run.libtorch}) {
      at::Tensor before = way().clone();
      for (int i = 0; i < 3; ++i) {
        const at::Tensor after = way().clone();
        EXPECT_GT(after.sub(before).norm().item<double>(), before.norm().item<double>());
        before = after;
      }
    }
    return;
  }
  FAIL() << "no such case";
}

// On a CPU libtorch has two of the four backends.
TEST(GpuCases, AttentionIsOfTheBackendThatItNames) {
  const c10::InferenceMode inference;
  std::set<std::string> computing;
  for (const KernelCase& which : gpu_attention_cases(kEmulated)) {
    if (which.shape != "SD1.5, inner band of 4: 2 x 64 tokens on 103, 8 x 160" ||
        which.dtype != "float32") {
      continue;
    }
    const KernelRun run = which.prepare();
    EXPECT_EQ(run.flops, 4.0 * 2 * 64 * 8 * 160 * 103);
    EXPECT_EQ(run.bytes, 4.0 * 2 * (2 * 64 + 2 * 103) * 8 * 160);
    if (!run.ours) continue;
    computing.insert(which.kernel);
    EXPECT_LE(relative_error(run), run.relative_bound) << which.kernel;
  }
  EXPECT_EQ(computing,
            (std::set<std::string>{"libtorch's attention, flash", "libtorch's attention, math"}));
  EXPECT_TRUE(at::globalContext().userEnabledMathSDP());
  EXPECT_TRUE(at::globalContext().userEnabledCuDNNSDP());
}

TEST(GpuTimer, TakesRunsUntilNoneFindsItsMemoryInACache) {
  EXPECT_EQ(cold_runs(0), 64U);
  EXPECT_EQ(cold_runs(1 << 20), 64U);
  EXPECT_EQ(cold_runs(100 << 20), 6U);
  EXPECT_EQ(cold_runs(512 << 20), 1U);
  EXPECT_EQ(cold_runs(2e9), 1U);
}

TEST(GpuTimer, HoldsOnlyMemoryAgainstACopy) {
  KernelRun run;
  run.bytes = (2 << 20) - 1;  // of 64
  EXPECT_FALSE(reads_memory(run));
  run.bytes = 2 << 20;
  EXPECT_TRUE(reads_memory(run));
  run.bytes = 512 << 20;
  EXPECT_TRUE(reads_memory(run));
  run.reread_bytes = (128 << 20) - 1;
  EXPECT_FALSE(reads_memory(run));
  run.reread_bytes = 128 << 20;
  EXPECT_TRUE(reads_memory(run));
}

}  // namespace
}  // namespace pcpp::benchmarks
