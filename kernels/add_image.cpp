#include "kernels/add_image.h"

namespace pcpp {

void add_image(float* sum, const float* image, const float* bias, std::int64_t pixels,
               std::int64_t channels) {
  for (std::int64_t pixel = 0; pixel < pixels; ++pixel) {
    for (std::int64_t c = 0; c < channels; ++c) {
      const std::int64_t i = pixel * channels + c;
      sum[i] = sum[i] + image[i] + bias[c];
    }
  }
}

}  // namespace pcpp
