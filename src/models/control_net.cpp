#include "models/control_net.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/flip.h>
#include <ATen/ops/silu.h>

#include "models/layers.h"
#include "ops/span_log.h"

namespace pcpp {

namespace {

Linear pointwise(const WeightScope& weights, std::int64_t channels) {
  return {weights, channels, channels, Linear::Bias::yes, Linear::Kind::convolution_1x1};
}

// After the first, two for each halving: the second of them halves the image.
std::vector<Kernel3x3> make_image_convolutions(const ControlNetConfig& config,
                                               const WeightScope& weights) {
  const std::vector<std::int64_t>& channels = config.image_channels;
  std::vector<Kernel3x3> convolutions;
  convolutions.emplace_back(weights.scope("conv_in"), 3, channels.front(), 1);
  const WeightScope blocks = weights.scope("blocks");
  for (std::size_t i = 0; i + 1 < channels.size(); ++i) {
    const auto block = static_cast<std::int64_t>(2 * i);
    convolutions.emplace_back(blocks.scope(block), channels[i], channels[i], 1);
    convolutions.emplace_back(blocks.scope(block + 1), channels[i], channels[i + 1], 2);
  }
  convolutions.emplace_back(weights.scope("conv_out"), channels.back(),
                            config.encoder.levels.front().channels, 1);
  return convolutions;
}

}  // namespace

ControlNet::ControlNet(const ControlNetConfig& config, const WeightScope& weights,
                       SiteRegistry& sites)
    : name_(weights.path()),
      reads_bgr_(config.reads_bgr),
      image_convolutions_(
          make_image_convolutions(config, weights.scope("controlnet_cond_embedding"))),
      encoder_(config.encoder, weights, sites),
      end_(sites.next_id()),
      middle_projection_(
          pointwise(weights.scope("controlnet_mid_block"), config.encoder.levels.back().channels)) {
  for (const std::int64_t channels : encoder_.skip_channels()) {
    const auto index = static_cast<std::int64_t>(projections_.size());
    projections_.push_back(
        pointwise(weights.scope("controlnet_down_blocks").scope(index), channels));
  }
  weights.finish();
}

at::Tensor ControlNet::embed(const at::Tensor& pixels, std::int64_t above,
                             std::int64_t below) const {
  at::Tensor image =
      (reads_bgr_ ? pixels.flip(1) : pixels).contiguous(at::MemoryFormat::ChannelsLast);
  for (const Kernel3x3& convolution : image_convolutions_) {
    image = convolution(image, 1);
    if (&convolution != &image_convolutions_.back()) image = at::silu(image);
  }
  return image.narrow(2, above, image.size(2) - above - below)
      .contiguous(at::MemoryFormat::ChannelsLast);
}

void ControlNet::operator()(const at::Tensor& latents, const at::Tensor& timestep,
                            const at::Tensor& text, const std::optional<AddedConditions>& added,
                            const ControlInput& input, std::vector<at::Tensor>& skips,
                            at::Tensor& middle, PatchContext& context) const {
  if (!input.image.defined()) return context.leave_out(end_);
  const SpanScope scope(name_);
  if (input.is_last) context.send_nothing(end_);
  std::vector<at::Tensor> own;
  const UNetConditions conditions = encoder_.conditions(timestep, text, added, context);
  const at::Tensor own_middle = encoder_(latents, input.image, conditions, own, context);
  if (input.scale == 0) return;
  const auto projected = [](const at::Tensor& image, const Linear& projection) {
    return as_image(projection(as_tokens(image)), image.size(2));
  };
  // Of a U-Net without a middle block it is the last of the skips.
  middle = middle.add(projected(own_middle, middle_projection_), input.scale);
  for (std::size_t i = 0; i < own.size(); ++i) {
    skips.at(i).add_(projected(own[i], projections_[i]), input.scale);
    own[i].reset();
  }
}

}  // namespace pcpp
