// The emulation that other tests trust: right kernels give right values, wrong ones fail.
#include "support/emulation.h"

#include <cuda_runtime.h>
#include <gtest/gtest.h>

#include <functional>
#include <numeric>
#include <string>
#include <vector>

namespace pcpp::emulation {
namespace {

constexpr unsigned kThreads = 96;

__global__ void rotate(const int* input, int* output, bool with_barrier) {
  __shared__ int values[kThreads];
  const unsigned first = blockIdx.x * kThreads;
  const unsigned number = threadIdx.x + blockDim.x * threadIdx.y;
  values[number] = input[first + number];
  if (with_barrier) __syncthreads();
  output[first + number] = values[(number + 1) % kThreads];
}

// Whether each block of a launch moved its values on by one thread.
bool rotates(bool with_barrier) {
  std::vector<int> input(3 * kThreads);
  std::iota(input.begin(), input.end(), 1);
  std::vector<int> output(input.size());
  EXPECT_TRUE(
      run({3}, {kThreads / 2, 2}, [&] { rotate(input.data(), output.data(), with_barrier); }));
  for (std::size_t i = 0; i < output.size(); ++i) {
    if (output[i] != input[i / kThreads * kThreads + (i + 1) % kThreads]) return false;
  }
  return true;
}

TEST(Emulation, ABarrierOrdersAccessesToSharedMemory) { EXPECT_TRUE(rotates(true)); }

TEST(Emulation, AMissingBarrierShowsAsAWrongValue) { EXPECT_FALSE(rotates(false)); }

TEST(Emulation, AShuffleReadsAnotherLane) {
  std::vector<double> values(64);
  run({1}, {64}, [&] {
    double value = threadIdx.x;
    for (int distance = 16; distance > 0; distance /= 2) {
      value += __shfl_xor_sync(0xFFFFFFFFU, value, distance);
    }
    values[threadIdx.x] = value;
  });
  for (std::size_t i = 0; i < values.size(); ++i) EXPECT_EQ(values[i], i < 32 ? 496 : 1520);
}

TEST(Emulation, LanesThatAreNotNamedMayStayAway) {
  std::vector<int> values(8, -1);
  run({1}, {8}, [&] {
    const auto number = static_cast<int>(threadIdx.x);
    if (number < 4) values[threadIdx.x] = __shfl_xor_sync(0xFU, number, 1);
  });
  EXPECT_EQ(values, (std::vector<int>{1, 0, 3, 2, -1, -1, -1, -1}));
}

std::string divergence_of(unsigned threads, const std::function<void()>& thread) {
  try {
    run({1}, {threads}, thread);
  } catch (const Divergence& error) {
    return error.what();
  }
  return "none";
}

TEST(Emulation, AThreadThatEndsBeforeABarrierFails) {
  const std::string text = divergence_of(8, [] {
    if (threadIdx.x != 5) __syncthreads();
  });
  EXPECT_NE(text.find("in block (0, 0, 0) thread (0, 0, 0) waits at emulation_test.cpp:"),
            std::string::npos)
      << text;
  EXPECT_NE(text.find("for the block, while thread (5, 0, 0) has ended"), std::string::npos)
      << text;
}

TEST(Emulation, ThreadsAtDifferentBarriersFail) {
  const std::string text = divergence_of(8, [] {
    if (threadIdx.x < 4) {
      __syncthreads();
    } else {
      __syncthreads();
    }
  });
  EXPECT_NE(text.find("while thread (4, 0, 0) waits at"), std::string::npos) << text;
}

TEST(Emulation, ABarrierAndAShuffleDoNotMeet) {
  const std::string text = divergence_of(64, [] {
    if (threadIdx.x < 32) {
      __syncthreads();
    } else {
      __shfl_xor_sync(0xFFFFFFFFU, 1, 1);
    }
  });
  EXPECT_NE(text.find("while thread (32, 0, 0) has ended"), std::string::npos) << text;
}

TEST(Emulation, AShuffleThatALaneMissesFails) {
  const std::string text = divergence_of(32, [] {
    if (threadIdx.x != 3) __shfl_xor_sync(0xFFFFFFFFU, 1, 1);
  });
  EXPECT_NE(text.find("for lanes 0xffffffff of its warp, while thread (3, 0, 0) has ended"),
            std::string::npos)
      << text;
}

TEST(Emulation, AShuffleOfLanesThatAreNotThereFails) {
  EXPECT_NE(divergence_of(16, [] { __shfl_xor_sync(0xFFFFFFFFU, 1, 1); }), "none");
  EXPECT_NE(divergence_of(4, [] { __shfl_xor_sync(0xFU, 1, 4); }), "none");
}

TEST(Emulation, ExtentsThatAGpuRefusesAreRefused) {
  int calls = 0;
  const auto count = [&] { ++calls; };
  EXPECT_FALSE(run({1}, {1025}, count));
  EXPECT_FALSE(run({1}, {0}, count));
  EXPECT_FALSE(run({0}, {1}, count));
  EXPECT_FALSE(run({1, 65536}, {1}, count));
  EXPECT_EQ(calls, 0);
  EXPECT_TRUE(run({2, 3, 4}, {5, 6, 7}, count));
  EXPECT_EQ(calls, 5040);
}

}  // namespace
}  // namespace pcpp::emulation
