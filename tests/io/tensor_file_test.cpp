#include "pcpp/tensor_file.h"

#include <gtest/gtest.h>

#include "io/files.h"
#include "io/safetensors.h"
#include "pcpp/error.h"
#include "support/errors.h"

namespace pcpp {
namespace {

using testing::expect_error;
using testing::TemporaryFolder;

TEST(TensorFileTest, SavesAndLoads) {
  const TemporaryFolder folder;
  const auto path = folder.path() / "latents.safetensors";
  const TensorMap tensors = {{"latents", {{1, 2, 1, 2}, {1.5F, -2, 0, 1e-30F}}},
                             {"none", {{0}, {}}}};
  save_tensors(path, tensors, {{"seed", "1"}});
  const TensorMap read = load_tensors(path);
  ASSERT_EQ(read.size(), 2U);
  EXPECT_EQ(read.at("latents").shape, tensors.at("latents").shape);
  EXPECT_EQ(read.at("latents").values, tensors.at("latents").values);
  EXPECT_TRUE(read.at("none").values.empty());
  EXPECT_EQ(SafetensorsFile::open(path).metadata().at("seed"), "1");
}

TEST(TensorFileTest, ConvertsHalfPrecision) {
  const TemporaryFolder folder;
  const auto path = folder.path() / "half.safetensors";
  const std::vector<std::uint16_t> halves = {0x3C00, 0xC000};  // 1 and -2 in binary16
  write_safetensors(path, {{"w", {DType::f16, {2}, std::as_bytes(std::span(halves))}}});
  EXPECT_EQ(load_tensors(path).at("w").values, (std::vector<float>{1, -2}));
}

TEST(TensorFileTest, RefusesOtherTypesAndFilesByName) {
  const TemporaryFolder folder;
  const auto path = folder.path() / "ids.safetensors";
  const std::vector<std::int32_t> ids = {1};
  write_safetensors(path, {{"ids", {DType::i32, {1}, std::as_bytes(std::span(ids))}}});
  expect_error<CheckpointError>([&] { load_tensors(path); }, {path.string(), "ids", "I32"});
  expect_error<CheckpointError>([&] { load_tensors(folder.path() / "none.safetensors"); },
                                {"none.safetensors"});
}

TEST(TensorFileTest, RefusesShapesThatDoNotFitAndPlacesThatCannotBeWritten) {
  const TemporaryFolder folder;
  const TensorMap wrong = {{"latents", {{2, 2}, {1, 2, 3}}}};
  expect_error<ConfigError>([&] { save_tensors(folder.path() / "x.safetensors", wrong); },
                            {"latents", "[2, 2]"});
  const TensorMap deep = {{"deep", {std::vector<std::int64_t>(65, 1), {1}}}};
  expect_error<ConfigError>([&] { save_tensors(folder.path() / "x.safetensors", deep); },
                            {"deep", "65 extents"});
  const std::filesystem::path cut = folder.path() / std::string("a\0b", 3);
  expect_error<OutputError>([&] { save_tensors(cut, {}); }, {"a\\x00b", "NUL"});
  expect_error<OutputError>([&] { save_tensors(folder.path() / "none" / "x.safetensors", {}); },
                            {"x.safetensors", "No such file"});
  EXPECT_EQ(folder.entry_count(), 0U);
}

}  // namespace
}  // namespace pcpp
