#include "ops/apply_lora.h"

#include <ATen/ops/tensor.h>
#include <gtest/gtest.h>

#include <limits>
#include <map>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "io/lora_file.h"
#include "ops/read_finite.h"
#include "pcpp/error.h"
#include "support/errors.h"
#include "support/tensors.h"

namespace pcpp {
namespace {

constexpr double kRounding = 1e-6;

std::string data(const std::string& name) {
  return std::string(PCPP_TEST_DATA) + "/lora_forms/" + name + ".safetensors";
}

// tests/reference/lora_forms_make.py
class LoraFormsTest : public ::testing::TestWithParam<std::string> {
 protected:
  static at::Tensor weight(const std::string& name) {
    static const SafetensorsFile file = SafetensorsFile::open(data("weights"));
    return read_finite(file.tensors().at(name), name);
  }
};

TEST_P(LoraFormsTest, ChangesWeightsAsItsLibraryDoes) {
  for (const double scale : {1.0, 0.5, -0.25, 0.0}) {
    const LoraFile file = LoraFile::open(data(GetParam()), scale);
    ASSERT_EQ(file.components().size(), 1U);
    for (const auto& [module, update] : file.components().at("unet")) {
      const at::Tensor before = weight(module.substr(module.rfind('_') + 1));
      const at::Tensor change = weight(module) - before;
      EXPECT_LE(relative_error(apply_lora(before, update, module), before + scale * change),
                kRounding)
          << module << " at scale " << scale;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Libraries, LoraFormsTest, ::testing::Values("lycoris", "peft"),
                         [](const auto& suite) { return suite.param; });

TensorView view_of(const std::vector<float>& values, const std::vector<std::int64_t>& shape) {
  return {DType::f32, shape, std::as_bytes(std::span(values))};
}

// A LoRA of a weight [2, 2] that makes its first row zero, with magnitudes.
class MagnitudesTest : public ::testing::Test {
 protected:
  at::Tensor apply(const std::vector<float>& magnitudes, const std::vector<std::int64_t>& shape,
                   const at::Tensor& weight) const {
    const LoraParts parts = {{LoraPart::up, view_of(up_, {2, 1})},
                             {LoraPart::down, view_of(down_, {1, 2})},
                             {LoraPart::dora_scale, view_of(magnitudes, shape)}};
    return apply_lora(weight, lora_update_of(parts, {}, 1, "a"), "a");
  }

  const at::Tensor weight_ = at::tensor({3.0F, 4.0F, 0.0F, 5.0F}).view({2, 2});

 private:
  const std::vector<float> up_ = {-1, 0};
  const std::vector<float> down_ = {3, 4};
};

TEST_F(MagnitudesTest, LeaveZeroAsItIs) {
  EXPECT_TRUE(apply({7, 8}, {2, 1}, weight_).equal(at::tensor({0, 0, 0, 8}).view({2, 2})));
  EXPECT_TRUE(apply({7, 8}, {1, 2}, weight_).equal(at::tensor({0, 0, 0, 8}).view({2, 2})));
}

TEST_F(MagnitudesTest, AreOfOutputsOrInputsByTheirShape) {
  const at::Tensor ones = at::tensor({5.0F, 6.0F, 1.0F, 2.0F}).view({2, 2});
  const at::Tensor changed = at::tensor({2.0F, 2.0F, 1.0F, 2.0F}).view({2, 2});
  const at::Tensor magnitudes = at::tensor({7.0F, 8.0F});
  for (const std::int64_t kept : {0, 1}) {
    const at::Tensor each =
        magnitudes.view(kept == 0 ? at::IntArrayRef({2, 1}) : at::IntArrayRef({1, 2}));
    const at::Tensor norms = changed.square().sum(1 - kept, true).sqrt();
    EXPECT_LE(relative_error(apply({7, 8}, each.sizes().vec(), ones), changed / norms * each),
              kRounding);
  }
}

TEST_F(MagnitudesTest, ThatAreNotFiniteAreRefused) {
  testing::expect_error<CheckpointError>(
      [&] {
        apply({7, std::numeric_limits<float>::infinity()}, {2}, weight_);
      },
      {"a", "finite"});
}

}  // namespace
}  // namespace pcpp
