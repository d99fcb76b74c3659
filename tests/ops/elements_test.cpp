#include "ops/elements.h"

#include <gtest/gtest.h>

namespace pcpp {
namespace {

TEST(Elements, AreOfTheTypeThatLibtorchHas) {
  EXPECT_EQ(scalar_type_of(DataType::float32), at::kFloat);
  EXPECT_EQ(scalar_type_of(DataType::float16), at::kHalf);
  EXPECT_EQ(scalar_type_of(DataType::bfloat16), at::kBFloat16);
}

}  // namespace
}  // namespace pcpp
