#include "pipeline/guidance.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <vector>

#include "pipeline/tensors.h"

namespace pcpp {
namespace {

TEST(Guided, IsTheWeightedDifference) {
  const at::Tensor unconditional = to_tensor({{2}, {1, 2}}, "a");
  const at::Tensor conditional = to_tensor({{2}, {3, 1}}, "b");
  EXPECT_EQ(to_host(guided(unconditional, conditional, 5)).values, (std::vector<float>{11, -3}));
}

// Deviations of 1 and 2, and of 3 and 1.
TEST(Rescaled, IsMixedOfItselfAndItselfAtTheConditionalDeviation) {
  const std::vector<std::int64_t> shape = {2, 1, 1, 3};
  const at::Tensor contrasted = to_tensor({shape, {1, 2, 3, 0, 3, 6}}, "a");
  const at::Tensor conditional = to_tensor({shape, {5, 7, 9, 4, 5, 6}}, "b");
  EXPECT_EQ(to_host(rescaled(contrasted, conditional, 0)).values,
            (std::vector<float>{1, 2, 3, 0, 3, 6}));
  EXPECT_EQ(to_host(rescaled(contrasted, conditional, 1)).values,
            (std::vector<float>{2, 4, 6, 0, 1, 2}));
  EXPECT_EQ(to_host(rescaled(contrasted, conditional, 0.5)).values,
            (std::vector<float>{1.5, 3, 4.5, 0, 2, 4}));
}

}  // namespace
}  // namespace pcpp
