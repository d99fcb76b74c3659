// How predicted images are kept in range: cut, or by dynamic thresholding (arXiv 2205.11487,
// section 2.3).
#ifndef PCPP_SCHEDULERS_THRESHOLDING_H_
#define PCPP_SCHEDULERS_THRESHOLDING_H_

#include <ATen/core/Tensor.h>

#include <optional>

#include "io/config_reader.h"

namespace pcpp {

struct Thresholding {
  double ratio = 0;    // the quantile of absolute values, of each image, that becomes its bound
  double largest = 0;  // the bound lies in [1, largest]
};

// Each image of [n, ...], cut to its bound and divided by it. float32.
at::Tensor thresholded(const at::Tensor& images, const Thresholding& thresholding);

// Reads thresholding, dynamic_thresholding_ratio and sample_max_value; absent where it is off.
// Throws CheckpointError.
std::optional<Thresholding> read_thresholding(ConfigReader& config);

// Reads clip_sample, for which `clips` stands where the file lacks it, and clip_sample_range:
// images are cut to [-range, range]. Absent where it is off. Throws CheckpointError.
std::optional<double> read_clip(ConfigReader& config, bool clips);

}  // namespace pcpp

#endif  // PCPP_SCHEDULERS_THRESHOLDING_H_
