#include <gtest/gtest.h>

#include <cstring>
#include <vector>

#include "kernels/copy_rows.h"
#include "support/device.h"

namespace pcpp {
namespace {

using CopyRowsOnDevice = DeviceTest;

// One copy, by offsets into arrays of bytes.
struct Block {
  std::int64_t target;
  std::int64_t target_stride;
  std::int64_t source;
  std::int64_t source_stride;
  std::int64_t batch;
  std::int64_t bytes;
};

void expect_equal(const std::vector<Block>& blocks, std::size_t offset = 0) {
  std::vector<std::byte> source(150000);
  for (std::size_t i = 0; i < source.size(); ++i) source[i] = static_cast<std::byte>(i * 7 % 255);
  std::vector<std::byte> expected(source.size(), std::byte{0xFF});
  DeviceArray<std::byte> device_source(source, offset);
  DeviceArray<std::byte> device_target(expected.size(), offset);
  std::vector<RowCopy> copies;
  for (const Block& block : blocks) {
    const RowCopy twin{expected.data() + block.target,
                       block.target_stride,
                       source.data() + block.source,
                       block.source_stride,
                       block.batch,
                       block.bytes};
    copy_rows(&twin, 1);
    copies.push_back({device_target.data() + block.target, block.target_stride,
                      device_source.data() + block.source, block.source_stride, block.batch,
                      block.bytes});
  }
  copy_rows(copies.data(), copies.size(), nullptr);
  const std::vector<std::byte> actual = device_target.values();
  for (std::size_t i = 0; i < actual.size(); ++i) {
    ASSERT_EQ(actual[i], expected[i]) << "byte " << i;
  }
}

TEST_F(CopyRowsOnDevice, ManyBlocksOfDifferentSizesEqualTheTwins) {
  // Rows of whole vectors, beyond one block's share too; ragged ones; none.
  expect_equal({{0, 40000, 16, 35200, 2, 35200},
                {80000, 64, 128, 512, 3, 48},
                {81000, 17, 3, 31, 5, 13},
                {82000, 0, 0, 0, 1, 1},
                {83000, 8, 8, 8, 4, 0},
                {84000, 8, 8, 8, 0, 4},
                {90000, 30000, 70000, 20001, 2, 19999}});
}

TEST_F(CopyRowsOnDevice, AnyOfAddressStrideAndSizeMayBreakTheAlignment) {
  expect_equal({{0, 64, 64, 64, 3, 32}}, 4);
  expect_equal({{8, 64, 64, 64, 3, 32}});
  expect_equal({{0, 64, 72, 64, 3, 32}});
  expect_equal({{0, 56, 64, 64, 3, 32}});
  expect_equal({{0, 64, 64, 40, 3, 32}});
  expect_equal({{0, 64, 64, 64, 3, 24}});
}

TEST_F(CopyRowsOnDevice, MoreCopiesThanOneLaunchTakes) {
  std::vector<Block> blocks;
  for (std::int64_t i = 0; i < static_cast<std::int64_t>(2 * kMostRowCopies + 3); ++i) {
    blocks.push_back({i * 64, 16, i * 32, 16, 2, i % 2 == 0 ? 16 : 9});
  }
  expect_equal(blocks);
}

// As the activations of the largest pictures have.
TEST_F(CopyRowsOnDevice, StridesMayBeBeyond32Bits) {
  constexpr std::int64_t kStride = 0x90000000;
  const std::vector<std::byte> bytes(96, std::byte{7});
  DeviceArray<std::byte> source(bytes);
  void* memory = nullptr;
  check_cuda(cudaMalloc(&memory, kStride + 48));
  auto* target = static_cast<std::byte*>(memory);
  const RowCopy there{target, kStride, source.data(), 48, 2, 48};
  copy_rows(&there, 1, nullptr);
  DeviceArray<std::byte> copied(bytes.size());
  const RowCopy back{copied.data(), 48, target, kStride, 2, 48};
  copy_rows(&back, 1, nullptr);
  EXPECT_EQ(copied.values(), bytes);
  check_cuda(cudaFree(memory));
}

TEST_F(CopyRowsOnDevice, NoCopyIsNoLaunch) {
  copy_rows(nullptr, 0, nullptr);
  const RowCopy empty;
  copy_rows(&empty, 1, nullptr);
}

}  // namespace
}  // namespace pcpp
