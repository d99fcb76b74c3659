#include "schedulers/predicted_image.h"

#include <ATen/TensorOperators.h>

namespace pcpp {

at::Tensor mixed(const Shares& shares, const at::Tensor& image, const at::Tensor& noise) {
  return shares.image * image + shares.noise * noise;
}

at::Tensor image_of(Prediction kind, const Shares& shares, const at::Tensor& prediction,
                    const at::Tensor& sample) {
  switch (kind) {
    case Prediction::epsilon:
      return (sample - shares.noise * prediction) / shares.image;
    case Prediction::v_prediction:
      return shares.image * sample - shares.noise * prediction;
    case Prediction::sample:
      break;
  }
  return prediction;
}

at::Tensor kept_in(const ImageRange& range, const at::Tensor& images) {
  if (range.clip) return images.clamp(-*range.clip, *range.clip);
  if (!range.thresholding) return images;
  const at::Tensor flat = images.reshape({images.size(0), -1});
  const at::Tensor bound =
      flat.abs().quantile(range.thresholding->ratio, 1, true).clamp(1, range.thresholding->largest);
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

ImageRange read_image_range(ConfigReader& config, bool clips) {
  ImageRange range{read_thresholding(config), std::nullopt};
  const double clip = config.number("clip_sample_range", 1);
  if (!config.boolean("clip_sample", clips)) return range;
  if (!(clip > 0)) config.refuse("clip_sample_range", "it must be above 0");
  if (!range.thresholding) range.clip = clip;
  return range;
}

}  // namespace pcpp
