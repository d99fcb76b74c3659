#include "models/ip_adapter.h"

#include <c10/core/InferenceMode.h>
#include <gtest/gtest.h>

#include <functional>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "io/ip_adapter_file.h"
#include "models/tiny_models.h"
#include "pcpp/error.h"
#include "support/errors.h"
#include "support/tensors.h"

namespace pcpp {
namespace {

constexpr const char* kSource = "adapter.safetensors";

using Tensors = std::map<std::string, TensorView>;

UNetConfig unet_config(const std::string& family) {
  return read_unet_config(tiny_component(family, "unet").config());
}

std::vector<std::string> scopes_of(const UNetConfig& unet) {
  std::vector<std::string> scopes;
  for (const CrossAttentionPlace& place : cross_attentions_of(unet)) scopes.push_back(place.scope);
  return scopes;
}

// Of all families: those whose keys the U-Net has, each once.
TEST(CrossAttentions, AreTheUNets) {
  for (const char* family : {"sd15", "sd21", "sdxl", "ssd1b", "bk_sdm"}) {
    SCOPED_TRACE(family);
    constexpr std::string_view kKeys = ".attn2.to_k.weight";
    const Weights weights = tiny_component(family, "unet").weights();
    std::map<std::string, std::int64_t> widths;
    for (const auto& [name, tensor] : weights.tensors()) {
      if (!name.ends_with(kKeys)) continue;
      widths[name.substr(0, name.size() - std::string_view(".to_k.weight").size())] =
          tensor.shape[0];
    }
    std::map<std::string, std::int64_t> places;
    for (const CrossAttentionPlace& place : cross_attentions_of(unet_config(family))) {
      EXPECT_TRUE(places.emplace(place.scope, place.width).second) << place.scope;
    }
    EXPECT_EQ(places, widths);
  }
}

TEST(CrossAttentions, AreInTheOrderOfDiffusersProcessors) {
  const std::string block = ".transformer_blocks.";
  EXPECT_EQ(scopes_of(unet_config("sdxl")),
            (std::vector<std::string>{"down_blocks.1.attentions.0" + block + "0.attn2",
                                      "down_blocks.1.attentions.0" + block + "1.attn2",
                                      "down_blocks.2.attentions.0" + block + "0.attn2",
                                      "up_blocks.0.attentions.0" + block + "0.attn2",
                                      "up_blocks.0.attentions.1" + block + "0.attn2",
                                      "up_blocks.1.attentions.0" + block + "0.attn2",
                                      "up_blocks.1.attentions.0" + block + "1.attn2",
                                      "up_blocks.1.attentions.1" + block + "0.attn2",
                                      "up_blocks.1.attentions.1" + block + "1.attn2",
                                      "mid_block.attentions.0" + block + "0.attn2"}));
}

TEST(AdaptedAttention, IsRefusedByNameForAnotherUNet) {
  const SafetensorsFile file =
      SafetensorsFile::open(ip_adapter_folder() / "sd15_plain.safetensors");
  const Tensors fitting = read_ip_adapter_file(file.tensors(), kSource).attention;
  const UNetConfig unet = unet_config("sd15");
  EXPECT_EQ(adapted_attention(fitting, unet, kSource).size(), fitting.size());
  const auto expect_refused = [&](const std::function<void(Tensors&)>& change,
                                  const std::string& part) {
    Tensors changed = fitting;
    change(changed);
    testing::expect_error<CheckpointError>([&] { adapted_attention(changed, unet, kSource); },
                                           {kSource, part, "for another model: take one"});
  };
  expect_refused([](Tensors& tensors) { tensors.erase("ip_adapter.7.to_v_ip.weight"); },
                 "lacks the tensor ip_adapter.7.to_v_ip.weight");
  expect_refused(
      [](Tensors& tensors) {
        tensors["ip_adapter.3.to_k_ip.weight"].shape = {8, 24};
      },
      "ip_adapter.3.to_k_ip.weight has shape [8, 24], where the U-Net needs [8, 16]");
  for (const char* name : {"ip_adapter.2.to_k_ip.weight", "ip_adapter.21.to_k_ip.weight",
                           "ip_adapter.1.to_k_ip.bias", "ip_adapter.01.to_k_ip.weight"}) {
    expect_refused([&](Tensors& tensors) { tensors[name] = {}; }, name);
  }
  testing::expect_error<CheckpointError>(
      [&] { adapted_attention(fitting, unet_config("sdxl"), kSource); }, {"needs [8, 40]"});
  testing::expect_error<CheckpointError>([&] { adapted_attention({}, unet, kSource); },
                                         {"ip_adapter.1.to_k_ip.weight", "10 cross-attentions"});
}

TEST(AdaptedUNet, TakesAndCountsAllOfTheAdaptersWeights) {
  const c10::InferenceMode inference;
  const SafetensorsFile file =
      SafetensorsFile::open(ip_adapter_folder() / "sd15_plain.safetensors");
  const UNetConfig config = unet_config("sd15");
  Tensors renamed =
      adapted_attention(read_ip_adapter_file(file.tensors(), kSource).attention, config, kSource);
  std::int64_t elements = 0;
  for (const auto& [name, tensor] : renamed) elements += tensor.element_count();
  const Component component = tiny_component("sd15", "unet");
  const auto adapted = [&] {
    return UNet(config, WeightScope(component.weights(), at::kFloat)
                            .with_adapters({WeightScope(renamed, kSource, at::kFloat)}));
  };
  EXPECT_EQ(adapted().parameters(), tiny_unet("sd15").parameters() + elements);
  EXPECT_EQ(adapted().sites().condition_slots(), tiny_unet("sd15").sites().condition_slots() + 10);
  renamed["mid_block.further"] = renamed.begin()->second;
  testing::expect_error<CheckpointError>(adapted, {kSource, "mid_block.further"});
}

}  // namespace
}  // namespace pcpp
