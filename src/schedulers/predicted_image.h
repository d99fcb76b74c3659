// What is in a sample, and the image that a prediction says is in it.
#ifndef PCPP_SCHEDULERS_PREDICTED_IMAGE_H_
#define PCPP_SCHEDULERS_PREDICTED_IMAGE_H_

#include <ATen/core/Tensor.h>

#include <optional>

#include "io/config_reader.h"
#include "schedulers/noise_schedule.h"

namespace pcpp {

// Of image and noise in a sample.
struct Shares {
  float image = 0;
  float noise = 0;
};

at::Tensor mixed(const Shares& shares, const at::Tensor& image, const at::Tensor& noise);

// The image in `sample`, which is mixed so.
at::Tensor image_of(Prediction kind, const Shares& shares, const at::Tensor& prediction,
                    const at::Tensor& sample);

// Dynamic thresholding (arXiv 2205.11487, section 2.3).
struct Thresholding {
  double ratio = 0;    // the quantile of absolute values, of each image, that becomes its bound
  double largest = 0;  // the bound lies in [1, largest]
};

// What predicted images are kept in: at most one of the two.
struct ImageRange {
  std::optional<Thresholding> thresholding;  // each image is cut to its bound and divided by it
  std::optional<double> clip;                // cut to [-clip, clip]

  bool is_endless() const { return !thresholding && !clip; }
};

// Of float32 images [n, ...].
at::Tensor kept_in(const ImageRange& range, const at::Tensor& images);

// Reads thresholding, dynamic_thresholding_ratio and sample_max_value; absent where it is off.
// Throws CheckpointError.
std::optional<Thresholding> read_thresholding(ConfigReader& config);

// Reads these, clip_sample, for which `clips` stands where the file lacks it, and
// clip_sample_range. Throws CheckpointError.
ImageRange read_image_range(ConfigReader& config, bool clips);

}  // namespace pcpp

#endif  // PCPP_SCHEDULERS_PREDICTED_IMAGE_H_
