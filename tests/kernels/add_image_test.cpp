#include "kernels/add_image.h"

#include <gtest/gtest.h>

#include <vector>

namespace pcpp {
namespace {

TEST(AddImage, AddsTheImageAndAPixelsBias) {
  std::vector<float> sum{1, 2, 3, 4};
  const std::vector<float> image{10, 20, 30, 40};
  const std::vector<float> bias{100, 200};
  add_image(sum.data(), image.data(), bias.data(), 2, 2);
  EXPECT_EQ(sum, (std::vector<float>{111, 222, 133, 244}));
}

}  // namespace
}  // namespace pcpp
