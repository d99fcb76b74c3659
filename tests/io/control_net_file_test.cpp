#include "io/control_net_file.h"

#include <gtest/gtest.h>

#include <array>
#include <cstddef>
#include <fstream>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "io/checkpoint.h"
#include "io/files.h"
#include "io/json_file.h"
#include "pcpp/error.h"
#include "support/errors.h"

namespace pcpp {
namespace {

namespace fs = std::filesystem;
using Tensors = std::map<std::string, TensorView>;

constexpr const char* kSource = "net.safetensors";

fs::path control(const std::string& name) { return fs::path(PCPP_TEST_DATA) / "control" / name; }

std::vector<std::array<std::string, 2>> names_of(const std::string& net) {
  return read_json_file(control(net + "_names.json"))
      .get<std::vector<std::array<std::string, 2>>>();
}

// The tensors under their names in a single file, less `prefix`.
Tensors single(const std::string& net, const Weights& weights, const std::string& prefix = "") {
  Tensors tensors;
  for (const auto& [name, part] : names_of(net)) {
    tensors.emplace(name.substr(prefix.size()), weights.tensors().at(part));
  }
  return tensors;
}

void expect_same(const Tensors& actual, const Tensors& expected) {
  ASSERT_EQ(actual.size(), expected.size());
  for (const auto& [name, tensor] : expected) {
    ASSERT_TRUE(actual.contains(name)) << name;
    EXPECT_EQ(actual.at(name).bytes.data(), tensor.bytes.data()) << name;
    EXPECT_EQ(actual.at(name).shape, tensor.shape) << name;
  }
}

// tests/reference/control_make.py, which proves the names by diffusers' own converter.
TEST(ControlNetFile, HasDiffusersNames) {
  for (const char* net : {"sd15", "sd21"}) {
    const Weights weights = Component::control_net(control(net)).weights();
    Tensors tensors = single(net, weights);
    expect_same(read_control_net_file(tensors, kSource), weights.tensors());
    // Of the model that it was trained with, and of nothing.
    tensors["model.diffusion_model.out.2.weight"] = tensors.begin()->second;
    tensors["logvar"] = tensors.begin()->second;
    expect_same(read_control_net_file(tensors, kSource), weights.tensors());
    expect_same(read_control_net_file(single(net, weights, "control_model."), kSource),
                weights.tensors());
    expect_same(read_control_net_file(weights.tensors(), kSource), weights.tensors());
  }
}

TEST(ControlNetFile, NamesWhatIsNoTensorOfAControlNet) {
  const Weights weights = Component::control_net(control("sd15")).weights();
  const TensorView& any = weights.tensors().begin()->second;
  for (const char* name :
       {"zero_convs.0.1.weight", "zero_convs.0.weight", "zero_convs.x.0.weight",
        "zero_convs.01.0.weight", "input_hint_block.1.weight", "input_hint_block.16.weight",
        "input_hint_block.0.0.weight", "input_hint_block.weight", "middle_block_out.1.weight",
        "middle_block_out.weight", "zero_convs.0.0.scale", "task_embedding.weight"}) {
    Tensors tensors = single("sd15", weights);
    tensors[std::string("control_model.") + name] = any;
    testing::expect_error<CheckpointError>([&] { read_control_net_file(tensors, kSource); },
                                           {kSource, name, "none of a ControlNet"});
  }
}

TEST(ControlNetFile, RefusesOtherKindsByName) {
  const Weights weights = Component::control_net(control("sd15")).weights();
  for (const auto& [name, kind] : {std::pair{"lora_controlnet", "Control-LoRA"},
                                   {"difference", "difference to a model"},
                                   {"task_embedding", "union"}}) {
    for (Tensors tensors : {weights.tensors(), single("sd15", weights)}) {
      tensors[name] = weights.tensors().begin()->second;
      testing::expect_error<CheckpointError>([&] { read_control_net_file(tensors, kSource); },
                                             {kSource, name, kind});
    }
  }
}

TEST(ControlNetFile, RefusesWhatHoldsNone) {
  const Weights weights = Component::control_net(control("sd15")).weights();
  const TensorView& any = weights.tensors().begin()->second;
  for (const Tensors& tensors : {Tensors{}, Tensors{{"adapter.body.0.in_conv.weight", any}},
                                 Tensors{{"control_model.input_blocks.0.0.weight", any}},
                                 Tensors{{"input_blocks.0.0.up", any}}}) {
    testing::expect_error<CheckpointError>([&] { read_control_net_file(tensors, kSource); },
                                           {kSource, "it holds no ControlNet"});
  }
}

TEST(ControlNetComponent, IsAFolderOrAFile) {
  const testing::TemporaryFolder place;
  EXPECT_TRUE(Component::control_net(control("sd15")).has_config());
  const fs::path file = place.path() / "net.safetensors";
  const Weights weights = Component::control_net(control("sd15")).weights();
  write_safetensors(file, single("sd15", weights));
  const Component component = Component::control_net(file);
  EXPECT_FALSE(component.has_config());
  EXPECT_EQ(component.place(), file.string());
  EXPECT_EQ(component.weights().tensors().size(), weights.tensors().size());
  EXPECT_EQ(component.weights().path(), file);
  const auto expect_refused = [](const fs::path& path, const std::string& part) {
    testing::expect_error<CheckpointError>([&] { Component::control_net(path); },
                                           {path.string(), part});
  };
  expect_refused(place.path() / "nowhere", "there is no folder and no file");
  expect_refused(fs::path(PCPP_TEST_DATA) / "models/sd15", "is a whole model");
  std::ofstream(place.path() / "net.pth") << "\x80\x02pickled";
  expect_refused(place.path() / "net.pth", "is a pickled file");
  std::ofstream(place.path() / "broken.safetensors") << "1234";
  expect_refused(place.path() / "broken.safetensors", "");
}

}  // namespace
}  // namespace pcpp
