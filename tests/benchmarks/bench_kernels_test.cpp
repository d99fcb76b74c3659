// `bench_kernels` as a user calls it.

#include <gtest/gtest.h>

#include <algorithm>
#include <string>

#include "examples/process.h"

namespace pcpp {
namespace {

using testing::Outcome;
using testing::run_process;

TEST(BenchKernelsTest, PrintsARowForEachCaseThatAgrees) {
  const Outcome outcome =
      run_process({PCPP_BENCH_KERNELS, "--seconds", "0", "--filter", "64 tokens on 77"});
  ASSERT_EQ(outcome.status, 0) << outcome.errors;
  EXPECT_EQ(std::count(outcome.output.begin(), outcome.output.end(), '\n'), 4) << outcome.output;
  EXPECT_NE(outcome.output.find("8 x 160 | bfloat16 | "), std::string::npos) << outcome.output;
}

TEST(BenchKernelsTest, GoesOnBehindACaseThatFails) {
  const Outcome outcome = run_process({"/usr/bin/env", "PCPP_VECTOR_LEVEL=wide", PCPP_BENCH_KERNELS,
                                       "--seconds", "0", "--filter", "64 tokens on 77"});
  EXPECT_EQ(outcome.status, 1);
  EXPECT_EQ(outcome.errors, "error: 2 of the cases failed: their rows say why\n");
  for (const char* dtype : {"float32", "bfloat16"}) {
    EXPECT_NE(outcome.output.find(std::string(dtype) + " | PCPP_VECTOR_LEVEL is 'wide'"),
              std::string::npos)
        << outcome.output;
  }
  EXPECT_EQ(std::count(outcome.output.begin(), outcome.output.end(), '\n'), 4) << outcome.output;
}

TEST(BenchKernelsTest, SaysWhereTheFilterLeavesNothingOrNobodyReads) {
  const Outcome none = run_process({PCPP_BENCH_KERNELS, "--filter", "abacus"});
  EXPECT_EQ(none.status, 1);
  EXPECT_EQ(none.errors, "error: no case's name holds 'abacus'\n");
  const Outcome full =
      run_process({"/bin/sh", "-c", R"("$0" --filter abacus >/dev/full)", PCPP_BENCH_KERNELS});
  EXPECT_EQ(full.status, 1);
  EXPECT_NE(full.errors.find("standard output is full"), std::string::npos) << full.errors;
}

TEST(BenchKernelsTest, RefusesAWrongCommandLine) {
  const Outcome outcome = run_process({PCPP_BENCH_KERNELS, "--threads", "0"});
  EXPECT_EQ(outcome.status, 2);
  EXPECT_EQ(std::count(outcome.errors.begin(), outcome.errors.end(), '\n'), 1) << outcome.errors;
}

TEST(BenchKernelsTest, RefusesADeviceThatIsNotThere) {
  const Outcome wrong = run_process({PCPP_BENCH_KERNELS, "--device", "cuda:x"});
  EXPECT_EQ(wrong.status, 2);
  EXPECT_NE(wrong.errors.find("cuda:x"), std::string::npos) << wrong.errors;
  const Outcome none = run_process({PCPP_BENCH_KERNELS, "--device", "cuda:99", "--filter", "-"});
  EXPECT_EQ(none.status, 1);
  EXPECT_EQ(none.errors.find("error: "), 0U) << none.errors;
  EXPECT_NE(none.errors.find("cuda"), std::string::npos) << none.errors;
  EXPECT_EQ(none.output, "");
}

}  // namespace
}  // namespace pcpp
