#include "kernels/copy_rows.h"

#include <gtest/gtest.h>

#include <vector>

namespace pcpp {
namespace {

TEST(CopyRows, CopiesEveryItemAndNothingBetween) {
  std::vector<std::byte> source(20);
  for (std::size_t i = 0; i < source.size(); ++i) source[i] = static_cast<std::byte>(i + 1);
  std::vector<std::byte> target(30, std::byte{0});
  const std::vector<RowCopy> copies = {{target.data() + 1, 10, source.data() + 2, 7, 2, 4},
                                       {target.data() + 21, 0, source.data() + 16, 0, 1, 4}};
  copy_rows(copies.data(), copies.size());
  for (std::size_t i = 0; i < target.size(); ++i) {
    const bool inside = i % 10 >= 1 && i % 10 < 5;
    const std::size_t from = 2 + i / 10 * 7 + i % 10 - 1;
    EXPECT_EQ(target[i], inside ? source[from] : std::byte{0}) << i;
  }
}

TEST(CopyRows, CopiesNothingWhereThereIsNothing) {
  copy_rows(nullptr, 0);
  std::byte target{1};
  const std::byte source{2};
  const std::vector<RowCopy> copies = {{nullptr, 0, nullptr, 0, 3, 0},
                                       {&target, 1, &source, 1, 0, 1}};
  copy_rows(copies.data(), copies.size());
  EXPECT_EQ(target, std::byte{1});
}

}  // namespace
}  // namespace pcpp
