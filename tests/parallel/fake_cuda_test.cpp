// What the tests over the fake CUDA runtime rely on.
#include "support/fake_cuda.h"

#include <gtest/gtest-spi.h>
#include <gtest/gtest.h>

#include <cstddef>

#include "base/cuda.h"
#include "pcpp/error.h"

namespace pcpp {
namespace {

using testing::FakeCuda;
using testing::Schedule;

void launch(const Stream& stream, void (*function)(void*), void* data) {
  check_cuda(cudaLaunchHostFunc(stream.get(), function, data), "cudaLaunchHostFunc");
}

void set_true(void* flag) { *static_cast<bool*>(flag) = true; }

TEST(FakeCuda, ALazyStreamRunsOnlyWhatIsAskedFor) {
  FakeCuda cuda({.schedule = Schedule::lazy});
  const Stream asked;
  const Stream other;
  bool asked_ran = false;
  bool other_ran = false;
  launch(asked, set_true, &asked_ran);
  launch(other, set_true, &other_ran);
  EXPECT_FALSE(asked_ran);
  asked.synchronize();
  EXPECT_TRUE(asked_ran);
  EXPECT_FALSE(other_ran);
  other.synchronize();
}

TEST(FakeCuda, AWaitFollowsTheRecordThatWasCalledBeforeIt) {
  for (const bool recorded : {true, false}) {
    FakeCuda cuda({.schedule = Schedule::lazy});
    const Stream first;
    const Stream second;
    const Event event;
    bool first_ran = false;
    launch(first, set_true, &first_ran);
    if (recorded) event.record(first);
    second.wait(event);
    if (!recorded) event.record(first);
    second.synchronize();
    EXPECT_EQ(first_ran, recorded) << "a wait for an event that is not recorded is no wait";
    first.synchronize();
  }
}

TEST(FakeCuda, EarlyCopiesRunBeforeTheComputationsOfOtherStreams) {
  FakeCuda cuda({.schedule = Schedule::early_copies});
  const Stream compute;
  const Stream copies;
  void* memory = nullptr;
  check_cuda(cudaMalloc(&memory, 8), "cudaMalloc");
  auto* bytes = static_cast<std::byte*>(memory);
  check_cuda(cudaMemsetAsync(bytes, 1, 4, compute.get()), "cudaMemsetAsync");
  check_cuda(cudaMemcpyPeerAsync(bytes + 4, 0, bytes, 0, 4, copies.get()), "cudaMemcpyPeerAsync");
  compute.synchronize();
  EXPECT_EQ(bytes[0], std::byte{1});
  EXPECT_NE(bytes[4], std::byte{1});
  EXPECT_NE(bytes[4], std::byte{0});
  cudaFree(memory);
}

TEST(FakeCuda, AnErrorThatWasLoggedIsNotReportedByTheNextCheck) {
  FakeCuda cuda({});
  cuda.fail("cudaEventDestroy", cudaErrorECCUncorrectable);
  { const Event event; }
  EXPECT_EQ(cudaGetLastError(), cudaSuccess);
}

void leave_memory_behind() {
  FakeCuda cuda({});
  void* memory = nullptr;
  check_cuda(cudaMalloc(&memory, 8), "cudaMalloc");
}

void record_an_event_of_another_device() {
  FakeCuda cuda({.devices = 2});
  const Stream stream;
  const DeviceGuard guard(1);
  const Event event;
  EXPECT_THROW(event.record(stream), DeviceError);
}

TEST(FakeCuda, ReportsWhatBreaksARule) {
  EXPECT_NONFATAL_FAILURE(leave_memory_behind(), "memory not freed");
  EXPECT_NONFATAL_FAILURE(record_an_event_of_another_device(), "of another device");
}

}  // namespace
}  // namespace pcpp
