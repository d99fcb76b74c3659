// U-Nets with ControlNets, whole and over several patches. That their pictures are diffusers' is in
// tests/pipeline/diffusers_test.cpp.
#include "models/control_net.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/equal.h>
#include <c10/core/InferenceMode.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <optional>
#include <ostream>
#include <string>
#include <utility>
#include <vector>

#include "models/tiny_models.h"
#include "models/unet.h"
#include "support/run_patches.h"
#include "support/tensors.h"

namespace pcpp {
namespace {

constexpr double kRounding = 1e-5;
constexpr double kTimestep = 601;
constexpr std::int64_t kImages = 2;
constexpr std::int64_t kColumns = 7;

struct Family {
  std::string name;
  std::vector<std::string> nets;

  friend void PrintTo(const Family& value, std::ostream* out) { *out << value.name; }
};

UNet steered(const Family& family) {
  const Component component = tiny_component(family.name, "unet");
  NetworkConfig network(read_unet_config(component.config()));
  std::vector<WeightScope> weights;
  for (const std::string& net : family.nets) {
    const Component control = Component::control_net(control_folder() / net);
    network.controls.push_back(read_control_net_config(control.config_object("config.json"), net));
    weights.emplace_back(control.weights(), at::kFloat);
  }
  return {network, WeightScope(component.weights(), at::kFloat), weights};
}

// What is drawn, whole.
struct Inputs {
  at::Tensor latents;
  at::Tensor text;
  std::optional<AddedConditions> added;
  std::vector<at::Tensor> pixels;  // of each ControlNet
};

Inputs make_inputs(const UNet& unet, std::int64_t rows, std::uint64_t seed) {
  Inputs inputs{random_tensor(seed, {kImages, 4, rows, kColumns}),
                random_tensor(2, {kImages, 7, unet.config().text_width}),
                std::nullopt,
                {}};
  if (unet.config().added) {
    inputs.added = {random_tensor(3, {kImages, 20}), random_tensor(4, {kImages, 6}) * 64};
  }
  for (std::size_t i = 0; i < unet.network().controls.size(); ++i) {
    inputs.pixels.push_back(random_tensor(5 + i, {kImages, 3, 8 * rows, 8 * kColumns}).abs());
  }
  return inputs;
}

// Of a band, as a rank makes them.
std::vector<ControlInput> controls_of(const UNet& unet, const Inputs& inputs,
                                      const PatchContext& context, double scale) {
  std::vector<ControlInput> controls;
  const std::int64_t rows = inputs.latents.size(2);
  const RowRange band = context.is_whole() ? RowRange{0, rows} : context.band(0);
  const RowRange read =
      intersect({band.begin - ControlNet::kHalo, band.end + ControlNet::kHalo}, RowRange{0, rows});
  for (std::size_t i = 0; i < inputs.pixels.size(); ++i) {
    const at::Tensor part = inputs.pixels[i].slice(2, 8 * read.begin, 8 * read.end);
    controls.push_back(
        {unet.control(i).embed(part, band.begin - read.begin, read.end - band.end), scale});
  }
  return controls;
}

// All nets at this scale; absent: none runs.
at::Tensor predict(const UNet& unet, const Inputs& inputs, PatchContext& context,
                   std::optional<double> scale, bool is_last = false) {
  std::vector<ControlInput> controls(inputs.pixels.size());
  if (scale) controls = controls_of(unet, inputs, context, *scale);
  for (ControlInput& control : controls) control.is_last = is_last;
  return unet(band_rows(inputs.latents, context, 0, 1), timestep(kTimestep), inputs.text,
              inputs.added, context, controls);
}

at::Tensor run_whole(const UNet& unet, const Inputs& inputs, std::optional<double> scale = 1) {
  const c10::InferenceMode inference;
  PatchContext context(unet.sites().condition_slots());
  return predict(unet, inputs, context, scale);
}

PatchSetup make_setup(const UNet& unet, const Inputs& inputs, int patches) {
  PatchSetup setup;
  setup.patches = patches;
  setup.row_unit = unet.row_unit();
  setup.shape = {inputs.latents.size(2), kColumns, 4, kImages};
  setup.parallel.sync_steps = 1;
  return setup;
}

// One step for each of `scales`.
std::vector<at::Tensor> run_split(const UNet& unet, PatchSetup setup, const Inputs& inputs,
                                  const std::vector<std::optional<double>>& scales) {
  setup.steps = static_cast<int>(scales.size());
  return run_patches(setup, unet.sites(), [&](int step, PatchContext& context) {
    const auto index = static_cast<std::size_t>(step);
    const bool is_last = index + 1 < scales.size() && !scales[index + 1];
    return predict(unet, inputs, context, scales[index], is_last);
  });
}

class SteeredUNet : public ::testing::TestWithParam<Family> {
 protected:
  Inputs inputs() const { return make_inputs(unet_, 4 * unet_.row_unit() - 1, 1); }

  UNet unet_ = steered(GetParam());
};

TEST_P(SteeredUNet, SynchronousPatchesEqualOne) {
  const Inputs drawn = inputs();
  const at::Tensor whole = run_whole(unet_, drawn);
  for (const int patches : {1, 2, 3}) {
    const PatchSetup setup = make_setup(unet_, drawn, patches);
    EXPECT_LE(relative_error(run_split(unet_, setup, drawn, {1})[0], whole), kRounding) << patches;
  }
  PatchSetup uneven = make_setup(unet_, drawn, 2);
  const int unit = static_cast<int>(unet_.row_unit());
  uneven.parallel.bands = {unit, 3 * unit - 1};
  EXPECT_LE(relative_error(run_split(unet_, uneven, drawn, {1})[0], whole), kRounding);
}

TEST_P(SteeredUNet, SteadyEqualsSynchronousWhereNothingMoved) {
  const Inputs drawn = inputs();
  PatchSetup setup = make_setup(unet_, drawn, 3);
  setup.parallel.reach = Reach::all;
  const std::vector<at::Tensor> steps = run_split(unet_, setup, drawn, {1, 1, 1});
  EXPECT_LE(relative_error(steps[1], steps[0]), kRounding);
  EXPECT_LE(relative_error(steps[2], steps[0]), kRounding);
}

// A ControlNet that has ended leaves the U-Net alone, whose rows go on being read.
TEST_P(SteeredUNet, WithoutItsControlsIsThePlainOne) {
  const Inputs drawn = inputs();
  const UNet plain = tiny_unet(GetParam().name);
  Inputs unsteered = drawn;
  unsteered.pixels.clear();
  const at::Tensor alone = run_whole(plain, unsteered);
  EXPECT_TRUE(run_whole(unet_, drawn, std::nullopt).equal(alone));
  EXPECT_TRUE(run_whole(unet_, drawn, 0).equal(alone));
  EXPECT_GE(relative_error(run_whole(unet_, drawn), alone), 0.1);
  PatchSetup setup = make_setup(unet_, drawn, 3);
  setup.parallel.reach = Reach::all;
  const auto none = std::optional<double>();
  const std::vector<at::Tensor> steps = run_split(unet_, setup, drawn, {0, 0, none, none, none});
  for (const at::Tensor& step : steps) EXPECT_LE(relative_error(step, alone), kRounding);
}

// Left out until the last synchronous step, they read that one's rows in the next.
TEST_P(SteeredUNet, MayBeginInASynchronousStep) {
  const Inputs drawn = inputs();
  PatchSetup setup = make_setup(unet_, drawn, 3);
  setup.parallel.reach = Reach::all;
  setup.parallel.sync_steps = 3;
  const auto none = std::optional<double>();
  const std::vector<at::Tensor> steps = run_split(unet_, setup, drawn, {none, none, 1, 1, 1});
  const at::Tensor whole = run_whole(unet_, drawn);
  for (std::size_t step = 2; step < steps.size(); ++step) {
    EXPECT_LE(relative_error(steps[step], whole), kRounding) << step;
  }
}

TEST_P(SteeredUNet, MayNotBeginInASteadyStep) {
  const Inputs drawn = inputs();
  const PatchSetup setup = make_setup(unet_, drawn, 2);
  EXPECT_THROW(run_split(unet_, setup, drawn, {std::nullopt, 1}), std::logic_error);
  EXPECT_THROW(run_split(unet_, setup, drawn, {1, 1, std::nullopt, 1}), std::logic_error);
}

// Else what is left out would hold up, or spoil, what others read.
TEST_P(SteeredUNet, SharesNoBundleWithItsControls) {
  const ExchangePlan plan(unet_.sites().sites(),
                          Topology(2, Guidance::batched, 1, 4 * unet_.row_unit(), unet_.row_unit()),
                          ParallelConfig::pcpp(), {4 * unet_.row_unit(), kColumns, 4, kImages});
  const std::vector<Site>& sites = unet_.sites().sites();
  std::vector<std::vector<std::string>> owners;  // of each bundle
  for (const std::vector<SiteId>& bundle : plan.bundles()) {
    std::vector<std::string>& names = owners.emplace_back();
    for (const SiteId id : bundle) {
      const std::string& name = sites[static_cast<std::size_t>(id)].name;
      names.push_back(name.starts_with("controlnet.") ? name.substr(0, 12) : "unet");
    }
    EXPECT_EQ(std::ranges::count(names, names.front()), std::ssize(names));
  }
  for (std::size_t net = 0; net < GetParam().nets.size(); ++net) {
    EXPECT_TRUE(std::ranges::any_of(owners, [&](const auto& names) {
      return names.front() == "controlnet." + std::to_string(net);
    }));
  }
}

INSTANTIATE_TEST_SUITE_P(All, SteeredUNet,
                         ::testing::Values(Family{"sd15", {"sd15", "sd15_bgr"}},
                                           Family{"sd21", {"sd21"}}, Family{"sdxl", {"sdxl"}},
                                           Family{"bk_sdm", {"bk_sdm"}}, Family{"ssd1b", {"ssd1b"}},
                                           Family{"sdxl", {"sdxl_small", "sdxl"}}),
                         [](const auto& suite) {
                           return suite.param.nets.size() == 1 ? suite.param.nets.front()
                                                               : suite.param.nets.front() + "_two";
                         });

// tests/reference/control_make.py
TEST(SteeredUNetCases, EqualDiffusers) {
  for (const auto& [family, net] :
       {std::pair{"ssd1b", "ssd1b"}, {"bk_sdm", "bk_sdm"}, {"sdxl", "sdxl_mid"}}) {
    SCOPED_TRACE(net);
    const auto read = [](const TensorMap& file, const std::string& name) {
      const FloatTensor& tensor = file.at(name);
      at::Tensor values = at::empty(tensor.shape, at::kFloat);
      std::copy(tensor.values.begin(), tensor.values.end(), values.mutable_data_ptr<float>());
      return values;
    };
    const TensorMap file =
        load_tensors(control_folder() / (std::string(net) + "_case.safetensors"));
    std::optional<AddedConditions> added;
    if (file.contains("time_ids")) added = {read(file, "text_embeds"), read(file, "time_ids")};
    const UNet unet = steered({family, {net}});
    const c10::InferenceMode inference;
    PatchContext context(unet.sites().condition_slots());
    const at::Tensor image = unet.control(0).embed(read(file, "pixels"), 0, 0);
    const at::Tensor output = unet(read(file, "latents"), timestep(kTimestep), read(file, "text"),
                                   added, context, {{image, 0.7}});
    EXPECT_LE(relative_error(output, read(file, "output")), 2e-5);
  }
}

TEST(SteeredUNetWeights, AreAllTaken) {
  const UNet unet = steered({"sd21", {"sd21"}});
  std::int64_t elements = tiny_unet("sd21").parameters();
  const Weights weights = Component::control_net(control_folder() / "sd21").weights();
  for (const auto& [name, tensor] : weights.tensors()) elements += tensor.element_count();
  EXPECT_EQ(unet.parameters(), elements);
}

}  // namespace
}  // namespace pcpp
