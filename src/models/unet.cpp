#include "models/unet.h"

#include <fmt/format.h>

#include <utility>

#include "base/check.h"
#include "models/unet_blocks.h"
#include "ops/conv2d.h"
#include "ops/group_norm.h"
#include "ops/span_log.h"

namespace pcpp {

struct UNet::Parts {
  Parts(const NetworkConfig& options, const WeightScope& weights,
        const std::vector<WeightScope>& control_weights)
      : network(options),
        device(weights.device()),
        encoder(config(), weights, sites),
        controls(make_controls(control_weights)),
        up(make_up(weights)),
        norm_out(weights.scope("conv_norm_out"), base_channels(), config().norm_groups,
                 config().norm_epsilon, GroupNorm::Activation::silu, 0, sites),
        conv_out(weights.scope("conv_out"), base_channels(), config().out_channels, 1, 0, sites) {
    weights.finish();
    parameters = weights.taken_elements();
    for (const WeightScope& each : control_weights) parameters += each.taken_elements();
    for (const WeightScope& adapter : weights.adapters()) {
      adapter.finish();
      parameters += adapter.taken_elements();
    }
  }

  const UNetConfig& config() const { return network.unet; }
  std::int64_t base_channels() const { return config().levels.front().channels; }

  std::vector<ControlNet> make_controls(const std::vector<WeightScope>& weights) {
    check<std::logic_error>(weights.size() == network.controls.size(),
                            "weights of {} ControlNets for {}", weights.size(),
                            network.controls.size());
    std::vector<ControlNet> made;
    for (std::size_t i = 0; i < weights.size(); ++i) {
      sites.begin_part();
      made.emplace_back(network.controls[i], weights[i].labelled(fmt::format("controlnet.{}", i)),
                        sites);
    }
    if (!made.empty()) sites.begin_part();
    return made;
  }

  std::vector<UpBlock> make_up(const WeightScope& weights) {
    std::vector<UpBlock> blocks;
    const int levels = static_cast<int>(config().levels.size());
    for (int i = 0; i < levels; ++i) {
      blocks.emplace_back(weights.scope("up_blocks").scope(i), config(), levels - 1 - i, sites);
    }
    return blocks;
  }

  NetworkConfig network;
  at::Device device;
  std::int64_t parameters = 0;
  SiteRegistry sites;  // filled by the members below, in the order in which they run
  UNetEncoder encoder;
  std::vector<ControlNet> controls;
  std::vector<UpBlock> up;
  GroupNorm norm_out;
  Conv3x3 conv_out;
};

UNet::UNet(const NetworkConfig& config, const WeightScope& weights,
           const std::vector<WeightScope>& control_weights)
    : parts_(std::make_unique<Parts>(config, weights, control_weights)) {}
UNet::~UNet() = default;
UNet::UNet(UNet&&) noexcept = default;
UNet& UNet::operator=(UNet&&) noexcept = default;

at::Tensor UNet::operator()(const at::Tensor& latents, const at::Tensor& timestep,
                            const PromptTokens& prompt, const std::optional<AddedConditions>& added,
                            PatchContext& context,
                            const std::vector<ControlInput>& controls) const {
  const UNetConfig& config = parts_->config();
  check<std::logic_error>(latents.dim() == 4 && latents.size(1) == config.in_channels,
                          "latents of {} channels for a U-Net of {}", latents.size(1),
                          config.in_channels);
  const auto check_width = [&](const at::Tensor& tokens) {
    check<std::logic_error>(tokens.dim() == 3 && tokens.size(2) == config.text_width,
                            "tokens of width {} for a U-Net that reads {}", tokens.size(-1),
                            config.text_width);
  };
  check_width(prompt.text);
  for (const ImageTokens& images : prompt.images) check_width(images.tokens);
  check<std::logic_error>(timestep.numel() == (config.guidance_width > 0 ? 2 : 1),
                          "this U-Net {} the guidance scale after the timestep",
                          config.guidance_width > 0 ? "needs" : "does not take");
  check<std::logic_error>(added.has_value() == config.added.has_value(),
                          "this U-Net {} pooled text and time ids",
                          config.added ? "needs" : "does not take");
  check<std::logic_error>(controls.size() == parts_->controls.size(),
                          "{} inputs for {} ControlNets", controls.size(), parts_->controls.size());

  const SpanScope scope("unet");
  const UNetConditions conditions = parts_->encoder.conditions(timestep, prompt, added, context);
  std::vector<at::Tensor> skips;
  at::Tensor image = parts_->encoder(latents, {}, conditions, skips, context);
  const at::Tensor own_latents = latents.narrow(1, 0, config.out_channels);
  for (std::size_t i = 0; i < controls.size(); ++i) {
    parts_->controls[i](own_latents, timestep, prompt.text, added, controls[i], skips, image,
                        context);
  }
  for (const UpBlock& block : parts_->up) image = block(image, conditions, skips, context);
  const Conv3x3& conv_out = parts_->conv_out;
  return conv_out(parts_->norm_out(image, context, conv_out.padding(context)), context);
}

at::Device UNet::device() const { return parts_->device; }

const UNetConfig& UNet::config() const { return parts_->network.unet; }

const NetworkConfig& UNet::network() const { return parts_->network; }

const ControlNet& UNet::control(std::size_t index) const { return parts_->controls.at(index); }

std::int64_t UNet::parameters() const { return parts_->parameters; }

const SiteRegistry& UNet::sites() const { return parts_->sites; }

std::int64_t UNet::row_unit() const { return parts_->config().row_unit(); }

}  // namespace pcpp
