#include "ops/weight_scope.h"

#include <c10/core/InferenceMode.h>
#include <gtest/gtest.h>

#include <bit>
#include <cstring>
#include <limits>
#include <span>
#include <stdexcept>
#include <utility>
#include <vector>

#include "io/files.h"
#include "pcpp/error.h"
#include "support/errors.h"

namespace pcpp {
namespace {

// The elements' bytes after one more byte, as in a file whose tensors are not aligned.
template <typename T>
std::vector<std::byte> unaligned(const std::vector<T>& values) {
  std::vector<std::byte> bytes(1 + values.size() * sizeof(T));
  std::memcpy(bytes.data() + 1, values.data(), values.size() * sizeof(T));
  return bytes;
}

TensorView view_of(const std::vector<std::byte>& bytes, DType dtype,
                   const std::vector<std::int64_t>& shape) {
  return {dtype, shape, std::span(bytes).subspan(1)};
}

TEST(WeightScope, LeavesNothingOfTheFileInMemory) {
  constexpr std::int64_t kElements = 1 << 20;
  const std::vector<float> values(kElements, 1.5F);
  const testing::TemporaryFolder folder;
  const auto path = folder.path() / "model.safetensors";
  write_safetensors(path, {{"w", {DType::f32, {kElements}, std::as_bytes(std::span(values))}}});
  const WeightScope scope(Weights::open(folder.path()), at::kFloat);
  EXPECT_EQ(scope.take("w", {kElements}).sum().item<float>(), 1.5F * kElements);
  EXPECT_LT(testing::resident_bytes(path), 1U << 20);
}

const std::vector<std::byte> kFloats =
    unaligned(std::vector<float>{1.5F, -2.0F, 0.25F, 4.0F, 0.0F, -0.5F});

WeightScope floats() {
  return {{{"a.weight", view_of(kFloats, DType::f32, {2, 3})},
           {"a.bias", view_of(kFloats, DType::f32, {6})},
           {"b.0.bias", view_of(kFloats, DType::f32, {6})}},
          "model.safetensors",
          at::kFloat};
}

TEST(WeightScope, IsEnteredTogetherWithItsAdapters) {
  const WeightScope adapter(
      {{"a.more", view_of(kFloats, DType::f32, {6})}, {"c", view_of(kFloats, DType::f32, {6})}},
      "adapter.safetensors", at::kFloat);
  const WeightScope root = floats();
  const WeightScope inner =
      root.with_adapters({adapter.labelled("first"), floats()}).labelled("unet").scope("a");
  ASSERT_EQ(inner.adapters().size(), 2U);
  EXPECT_EQ(inner.path(), "unet.a");
  EXPECT_EQ(inner.adapters()[0].path(), "first.a");
  EXPECT_EQ(inner.adapters()[0].take("more", {6})[0].item<float>(), 1.5F);
  inner.adapters()[1].take("weight", {2, 3});
  inner.take("weight", {2, 3});
  EXPECT_EQ(adapter.taken_elements(), 6);
  EXPECT_TRUE(root.scope("a").adapters().empty());
  testing::expect_error<CheckpointError>([&] { adapter.finish(); }, {"adapter.safetensors", "c"});
}

TEST(WeightScope, TakesByDottedName) {
  const WeightScope root = floats();
  const at::Tensor weight = root.scope("a").take("weight", {2, 3});
  EXPECT_TRUE(weight.is_contiguous());
  EXPECT_EQ(weight.scalar_type(), at::kFloat);
  EXPECT_EQ(weight[0][1].item<float>(), -2.0F);
  EXPECT_EQ(weight[1][2].item<float>(), -0.5F);
  const WeightScope nested = root.scope("b").scope(0);
  EXPECT_EQ(nested.path(), "b.0");
  EXPECT_TRUE(nested.has("bias"));
  EXPECT_FALSE(nested.has("weight"));
  EXPECT_EQ(root.take("b.0.bias", {6})[0].item<float>(), 1.5F);
}

TEST(WeightScope, ConvertsEveryFloatingType) {
  const auto f64 = unaligned(std::vector<double>{1.5, -2.0});
  const auto f16 = unaligned(std::vector<std::uint16_t>{0x3E00, 0xC000});
  const auto bf16 = unaligned(std::vector<std::uint16_t>{0x3FC0, 0xC000});
  const auto e4m3 = unaligned(std::vector<std::uint8_t>{0x3C, 0xC0});
  const auto e5m2 = unaligned(std::vector<std::uint8_t>{0x3E, 0xC0});
  for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16, at::kHalf}) {
    const WeightScope scope({{"f64", view_of(f64, DType::f64, {2})},
                             {"f16", view_of(f16, DType::f16, {2})},
                             {"bf16", view_of(bf16, DType::bf16, {2})},
                             {"e4m3", view_of(e4m3, DType::f8_e4m3, {2})},
                             {"e5m2", view_of(e5m2, DType::f8_e5m2, {2})}},
                            "model.safetensors", dtype);
    for (const char* name : {"f64", "f16", "bf16", "e4m3", "e5m2"}) {
      const at::Tensor values = scope.take(name, {2});
      EXPECT_EQ(values.scalar_type(), dtype);
      EXPECT_EQ(values[0].item<float>(), 1.5F) << name;
      EXPECT_EQ(values[1].item<float>(), -2.0F) << name;
    }
    scope.finish();
  }
}

TEST(WeightScope, NamesAMissingTensor) {
  testing::expect_error<CheckpointError>([] { floats().scope("a").take("scale", {6}); },
                                         {"a.scale", "missing", "model.safetensors"});
}

TEST(WeightScope, NamesAWrongShape) {
  testing::expect_error<CheckpointError>(
      [] {
        floats().take("a.weight", {3, 2});
      },
      {"a.weight", "[2, 3]", "[3, 2]"});
}

TEST(WeightScope, AScopeAnswersForItsOwnTensors) {
  const auto values = unaligned(std::vector<float>{1.5F});
  const TensorView view = view_of(values, DType::f32, {1});
  const WeightScope root({{"a.bias", view}, {"ab.bias", view}}, "model.safetensors", at::kFloat);
  testing::expect_error<CheckpointError>([&] { root.scope("a").finish(); },
                                         {"1 tensors", "a.bias"});
  root.take("a.bias", {1});
  root.scope("a").finish();
  testing::expect_error<CheckpointError>([&] { root.finish(); }, {"1 tensors", "ab.bias"});
}

TEST(WeightScope, NamesWhatNobodyTook) {
  const WeightScope root = floats();
  root.take("a.bias", {6});
  testing::expect_error<CheckpointError>([&] { root.finish(); },
                                         {"2 tensors are not part", "a.weight", "b.0.bias"});
  root.take("a.weight", {2, 3});
  root.scope("b").scope(0).ignore("bias");
  root.scope("b").ignore("not there");
  root.finish();
}

TEST(WeightScope, RefusesValuesThatAreNotFinite) {
  for (const float value :
       {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(),
        -std::numeric_limits<float>::infinity()}) {
    std::vector<float> values(100, 1.0F);
    values[99] = value;
    const auto bytes = unaligned(values);
    const WeightScope root({{"a.weight", view_of(bytes, DType::f32, {100})}}, "model.safetensors",
                           at::kBFloat16);
    testing::expect_error<CheckpointError>([&] { root.take("a.weight", {100}); },
                                           {"a.weight", "finite"});
  }
  // All bits of the exponent: infinite, or not a number. F64 beyond float32 is infinite there.
  const auto f16 = unaligned(std::vector<std::uint16_t>{0x3E00, 0xFC00});
  const auto bf16 = unaligned(std::vector<std::uint16_t>{0x3FC0, 0x7FC0});
  const auto f64 = unaligned(std::vector<double>{1.5, 1e300});
  for (const auto& [bytes, dtype] :
       {std::pair{&f16, DType::f16}, {&bf16, DType::bf16}, {&f64, DType::f64}}) {
    const WeightScope root({{"a.weight", view_of(*bytes, dtype, {2})}}, "model.safetensors",
                           at::kHalf);
    testing::expect_error<CheckpointError>([&] { root.take("a.weight", {2}); },
                                           {"a.weight", "finite"});
  }
  std::vector<float> largest(3, std::numeric_limits<float>::max());
  const auto bytes = unaligned(largest);
  EXPECT_EQ(WeightScope({{"a", view_of(bytes, DType::f32, {3})}}, "file", at::kFloat)
                .take("a", {3})[0]
                .item<float>(),
            std::numeric_limits<float>::max());
}

TEST(WeightScope, RefusesIntegers) {
  const auto bytes = unaligned(std::vector<std::int64_t>{1, 2});
  const WeightScope root({{"ids", view_of(bytes, DType::i64, {2})}}, "model.safetensors",
                         at::kFloat);
  testing::expect_error<CheckpointError>([&] { root.take("ids", {2}); }, {"ids"});
}

TEST(WeightScope, GivesATensorOnce) {
  const WeightScope root = floats();
  root.take("a.bias", {6});
  EXPECT_THROW(root.scope("a").take("bias", {6}), std::logic_error);
}

TEST(WeightScope, TensorsOfInferenceModeAreOrdinaryOnes) {
  const c10::InferenceMode inference;
  EXPECT_FALSE(floats().take("a.bias", {6}).is_inference());
}

TEST(WeightScope, ShapesNeedNoMemoryAndNoNames) {
  const WeightScope shapes = WeightScope::shapes_only();
  const at::Tensor huge = shapes.scope("any").take("weight", {1 << 20, 1 << 20, 3, 3});
  EXPECT_TRUE(huge.is_meta());
  EXPECT_EQ(huge.size(0), 1 << 20);
  shapes.take("weight", {1});
  shapes.take("weight", {1});
  shapes.finish();
}

// A LoRA of a.weight [2, 3] of floats(), of rank 1.
class LoraScopeTest : public ::testing::Test {
 protected:
  LoraFile lora(double scale, const std::string& module = "unet.a") const {
    const auto path = folder_.path() / "style.safetensors";
    const std::vector<float> down = {1, 10, 100};
    const std::vector<float> up = {1, -2};
    write_safetensors(
        path, {{module + ".lora_A.weight", {DType::f32, {1, 3}, std::as_bytes(std::span(down))}},
               {module + ".lora_B.weight", {DType::f32, {2, 1}, std::as_bytes(std::span(up))}}});
    return LoraFile::open(path, scale);
  }

 private:
  testing::TemporaryFolder folder_;
};

void take_all(const WeightScope& root) {
  root.take("a.weight", {2, 3});
  root.take("a.bias", {6});
  root.take("b.0.bias", {6});
  root.finish();
}

TEST_F(LoraScopeTest, IsAddedAndMoreThanOne) {
  const WeightScope root = floats();
  root.add(lora(0.5), "unet");
  root.add(lora(0.25), "unet");
  const at::Tensor sum = root.scope("a").take("weight", {2, 3});
  EXPECT_EQ(sum.scalar_type(), at::kFloat);
  EXPECT_EQ(sum[0][1].item<float>(), -2.0F + 0.75F * 10);
  EXPECT_EQ(sum[1][2].item<float>(), -0.5F - 0.75F * 200);
  EXPECT_EQ(root.take("a.bias", {6})[0].item<float>(), 1.5F);
}

TEST_F(LoraScopeTest, OfAnotherComponentChangesNothing) {
  const WeightScope root = floats();
  root.add(lora(0.5, "text_encoder.a"), "unet");
  take_all(root);
  const WeightScope again = floats();
  again.add(lora(0.5, "text_encoder.a"), "unet");
  EXPECT_EQ(again.take("a.weight", {2, 3})[0][1].item<float>(), -2.0F);
}

TEST_F(LoraScopeTest, IsAddedBeforeTheWeightIsRounded) {
  const auto bytes = unaligned(std::vector<std::uint16_t>(6, 0x3F80));  // ones
  const WeightScope root({{"a.weight", view_of(bytes, DType::bf16, {2, 3})}}, "model.safetensors",
                         at::kBFloat16);
  for (int times = 0; times < 4; ++times) root.add(lora(0.001), "unet");
  const at::Tensor sum = root.take("a.weight", {2, 3});
  EXPECT_EQ(sum.scalar_type(), at::kBFloat16);
  EXPECT_EQ(sum[0][0].item<float>(), 1.0078125F);
}

TEST_F(LoraScopeTest, NamesWeightsThatAreNotThereBeforeAnyIsTaken) {
  testing::expect_error<CheckpointError>(
      [&] { floats().add(lora(1, "unet.c"), "unet"); },
      {"style.safetensors", "1 weights", "model.safetensors", "c"});
}

TEST_F(LoraScopeTest, NamesAShapeThatDoesNotFitBeforeAnyIsTaken) {
  const WeightScope root({{"a.weight", view_of(kFloats, DType::f32, {3, 2})}}, "model.safetensors",
                         at::kFloat);
  testing::expect_error<CheckpointError>(
      [&] { root.add(lora(1), "unet"); },
      {"style.safetensors", "a.weight", "[3, 2]", "[2, 1]", "[1, 3]", "another model"});
}

TEST_F(LoraScopeTest, RefusesASumThatItsDtypeDoesNotHold) {
  for (const auto& [dtype, scale] : {std::pair{at::kFloat, 1e38}, std::pair{at::kHalf, 1e3}}) {
    const WeightScope root({{"a.weight", view_of(kFloats, DType::f32, {2, 3})}},
                           "model.safetensors", dtype);
    root.add(lora(scale), "unet");
    testing::expect_error<CheckpointError>(
        [&] {
          root.take("a.weight", {2, 3});
        },
        {"style.safetensors", "a.weight", c10::toString(dtype), "smaller scale"});
  }
  const WeightScope root({{"a.weight", view_of(kFloats, DType::f32, {2, 3})}}, "model.safetensors",
                         at::kFloat);
  root.add(lora(1e3), "unet");
  EXPECT_EQ(root.take("a.weight", {2, 3})[1][2].item<float>(), -200000.5F);
}

}  // namespace
}  // namespace pcpp
