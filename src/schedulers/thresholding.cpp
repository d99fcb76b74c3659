#include "schedulers/thresholding.h"

#include <ATen/TensorOperators.h>

namespace pcpp {

at::Tensor thresholded(const at::Tensor& images, const Thresholding& thresholding) {
  const at::Tensor flat = images.reshape({images.size(0), -1});
  const at::Tensor bound =
      flat.abs().quantile(thresholding.ratio, 1, true).clamp(1, thresholding.largest);
  return (flat.clamp(-bound, bound) / bound).reshape(images.sizes());
}

std::optional<Thresholding> read_thresholding(ConfigReader& config) {
  const Thresholding thresholding{config.number("dynamic_thresholding_ratio", 0.995),
                                  config.number("sample_max_value", 1)};
  if (!config.boolean("thresholding", false)) return std::nullopt;
  if (!(thresholding.ratio >= 0 && thresholding.ratio <= 1)) {
    config.refuse("dynamic_thresholding_ratio", "it must lie in [0, 1]");
  }
  if (!(thresholding.largest >= 1)) config.refuse("sample_max_value", "it must be at least 1");
  return thresholding;
}

std::optional<double> read_clip(ConfigReader& config, bool clips) {
  const double range = config.number("clip_sample_range", 1);
  if (!config.boolean("clip_sample", clips)) return std::nullopt;
  if (!(range > 0)) config.refuse("clip_sample_range", "it must be above 0");
  return range;
}

}  // namespace pcpp
