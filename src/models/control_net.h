// diffusers' ControlNetModel (arXiv 2302.05543) over one band of rows: a copy of the U-Net's way
// down that reads an image as well, and adds to what the U-Net's way up reads.
#ifndef PCPP_MODELS_CONTROL_NET_H_
#define PCPP_MODELS_CONTROL_NET_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>
#include <vector>

#include "models/control_net_config.h"
#include "models/unet_encoder.h"
#include "ops/conv2d.h"
#include "ops/linear.h"
#include "ops/patch_context.h"
#include "ops/site_registry.h"
#include "ops/weight_scope.h"

namespace pcpp {

// What a ControlNet is told in one step.
struct ControlInput {
  at::Tensor image;      // the band's rows, as embed() makes them; undefined: it does not run
  double scale = 1;      // of what it adds; 0: it runs, and adds nothing
  bool is_last = false;  // it does not run in the next step: nobody would read what it sent
};

// Immutable.
class ControlNet {
 public:
  // Takes every weight of the scope, as UNet does.
  ControlNet(const ControlNetConfig& config, const WeightScope& weights, SiteRegistry& sites);

  // How many latent rows of the image beyond a band its embedding depends on.
  static constexpr std::int64_t kHalo = 3;
  // The part of a control image that steers a band, once for a phase. pixels: [n, 3, rows,
  // columns] in [0, 1], the network's dtype, of the band's latent rows and `above` and `below`
  // more, config.scale() pixels each way for each of the latents. Returns [n, c, rows, columns] of
  // the band, channels-last.
  at::Tensor embed(const at::Tensor& pixels, std::int64_t above, std::int64_t below) const;

  // Adds to the U-Net's `skips` and `middle`. All else is as the U-Net is given it, but that
  // latents are those alone. An `input` without an image leaves its sites out of the step.
  void operator()(const at::Tensor& latents, const at::Tensor& timestep, const at::Tensor& text,
                  const std::optional<AddedConditions>& added, const ControlInput& input,
                  std::vector<at::Tensor>& skips, at::Tensor& middle, PatchContext& context) const;

 private:
  std::string name_;
  bool reads_bgr_;
  std::vector<Kernel3x3> image_convolutions_;
  UNetEncoder encoder_;
  SiteId end_;  // after its last site
  std::vector<Linear> projections_;
  Linear middle_projection_;
};

}  // namespace pcpp

#endif  // PCPP_MODELS_CONTROL_NET_H_
