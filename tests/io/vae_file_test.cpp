// VAEs in files of their own.

#include <gtest/gtest.h>

#include <map>
#include <string>
#include <vector>

#include "io/single_files.h"
#include "pcpp/error.h"
#include "support/errors.h"

namespace pcpp {
namespace {

std::map<std::string, TensorView> vae_of(const File& file) {
  return read_vae_file(file.tensors(), "vae.safetensors");
}

// With the names of a whole model's file, without their prefix, and with diffusers'.
TEST(VaeFile, HoldsWhatTheWholeModelsDoes) {
  for (const std::string family : kFamilies) {
    const std::vector<Entry> entries = read_entries(family);
    const File whole = whole_file(entries, DType::f16);
    const auto expected = whole.read().components.at("vae");
    File alone(DType::f16);
    File diffusers(DType::f16);
    for (const Entry& entry : entries) {
      if (!entry.name.starts_with(kVae)) continue;
      alone.add(entry.name.substr(kVae.size()), shape_for(entry));
      if (entry.how != "passed over") diffusers.add(entry.weight, {3});
    }
    const auto of_whole = vae_of(whole);
    EXPECT_EQ(of_whole.size(), expected.size());
    const auto of_alone = vae_of(alone);
    ASSERT_EQ(of_alone.size(), expected.size());
    for (const Entry& entry : entries) {
      if (!entry.name.starts_with(kVae) || entry.how == "passed over") continue;
      SCOPED_TRACE(entry.name);
      expect_part_of(whole[entry.name], entry.how, of_whole.at(entry.weight));
      expect_part_of(alone[entry.name.substr(kVae.size())], entry.how, of_alone.at(entry.weight));
    }
    EXPECT_EQ(vae_of(diffusers).size(), expected.size());
    File prefixed(DType::f16);
    for (const auto& [name, tensor] : diffusers.tensors()) {
      prefixed.add(std::string(kVae) + name, tensor.shape);
    }
    prefixed.add("model_ema.decay", {1});
    const auto of_prefixed = vae_of(prefixed);
    EXPECT_EQ(of_prefixed.size(), expected.size());
    EXPECT_TRUE(of_prefixed.contains("decoder.mid_block.resnets.0.conv1.weight"));
  }
}

TEST(VaeFile, IsRefusedWithoutAVae) {
  File tiny;
  tiny.add("decoder.layers.0.weight", {3});
  testing::expect_error<CheckpointError>([&] { vae_of(tiny); },
                                         {"vae.safetensors", "holds no VAE", "TAESD"});
  testing::expect_error<CheckpointError>([&] { vae_of(small_file()); }, {"holds no VAE"});
  testing::expect_error<CheckpointError>([&] { vae_of(File()); }, {"holds no VAE"});
}

TEST(VaeFile, IsRefusedForANameThatNoneHas) {
  File file;
  file.add("decoder.mid.block_1.norm1.weight", {3});
  file.add("decoder.temporal.weight", {3});
  testing::expect_error<CheckpointError>(
      [&] { vae_of(file); }, {"vae.safetensors: the tensor decoder.temporal.weight", "of a VAE"});
}

}  // namespace
}  // namespace pcpp
