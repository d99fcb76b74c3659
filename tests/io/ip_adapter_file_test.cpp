#include "io/ip_adapter_file.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <map>
#include <string>
#include <utility>

#include "pcpp/error.h"
#include "support/errors.h"

namespace pcpp {
namespace {

constexpr const char* kSource = "adapter.safetensors";

using Tensors = std::map<std::string, TensorView>;

Tensors tensors_of(const std::string& adapter) {
  static std::map<std::string, SafetensorsFile> files;
  const std::filesystem::path path =
      std::filesystem::path(PCPP_TEST_DATA) / "ip_adapter" / (adapter + ".safetensors");
  return files.try_emplace(adapter, SafetensorsFile::open(path)).first->second.tensors();
}

TEST(IpAdapterFile, IsPartedByItsNames) {
  for (const char* adapter : {"sd15_plain", "sd15_plus"}) {
    const Tensors tensors = tensors_of(adapter);
    const IpAdapterTensors parts = read_ip_adapter_file(tensors, kSource);
    EXPECT_EQ(parts.attention.size(), 20U);
    EXPECT_EQ(parts.projection.size() + parts.attention.size(), tensors.size());
    for (const auto& [name, tensor] : parts.projection) {
      EXPECT_TRUE(name.starts_with("image_proj.")) << name;
      EXPECT_EQ(tensor.bytes.data(), tensors.at(name).bytes.data());
    }
    for (const auto& [name, tensor] : parts.attention) {
      EXPECT_TRUE(name.starts_with("ip_adapter.")) << name;
    }
  }
}

TEST(IpAdapterFile, RefusesOtherKindsByName) {
  for (const auto& [name, kind] :
       {std::pair{"image_proj.perceiver_resampler.proj_in.weight", "FaceID Plus"},
        {"image_proj.proj.3.weight", "full face"},
        {"image_proj.proj.0.weight", "FaceID"},
        {"ip_adapter.0.to_q_lora.down.weight", "LoRAs of its own"}}) {
    Tensors tensors = tensors_of("sd15_plain");
    tensors[name] = {};
    testing::expect_error<CheckpointError>([&] { read_ip_adapter_file(tensors, kSource); },
                                           {kSource, name, kind, "take a plain one"});
  }
}

TEST(IpAdapterFile, RefusesWhatHoldsNoneOrMore) {
  testing::expect_error<CheckpointError>([] { read_ip_adapter_file({}, kSource); },
                                         {kSource, "it holds no IP-Adapter"});
  testing::expect_error<CheckpointError>(
      [] {
        read_ip_adapter_file({{"image_proj.norm.weight", {}}}, kSource);
      },
      {"it holds no IP-Adapter"});
  for (const char* name : {"conv_in.weight", "image_projection.weight", "ip_adapter"}) {
    Tensors tensors = tensors_of("sd15_plus");
    tensors[name] = {};
    testing::expect_error<CheckpointError>([&] { read_ip_adapter_file(tensors, kSource); },
                                           {kSource, name, "none of an IP-Adapter"});
  }
}

}  // namespace
}  // namespace pcpp
