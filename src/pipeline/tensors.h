// Between the public host tensors and images and libtorch's tensors.
#ifndef PCPP_PIPELINE_TENSORS_H_
#define PCPP_PIPELINE_TENSORS_H_

#include <ATen/core/Generator.h>
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <stop_token>
#include <vector>

#include "pcpp/config.h"
#include "pcpp/image.h"

namespace pcpp {

// Throws ConfigError, with `name`, where shape and values disagree or a value is not finite.
void check_tensor(const FloatTensor& source, const char* name);
// A float32 copy. Throws as check_tensor() does.
at::Tensor to_tensor(const FloatTensor& source, const char* name);
FloatTensor to_host(const at::Tensor& source);

// Draws as diffusers' randn_tensor with CPU generators: float32, each after the last; of several
// seeds, of which there is one for each along the first extent, each by itself.
class StandardNormal {
 public:
  explicit StandardNormal(const std::vector<std::uint64_t>& seeds);
  at::Tensor draw(at::IntArrayRef shape);
  void draw_into(const at::Tensor& values);

 private:
  std::vector<at::Generator> generators_;
};

// [1, 3, height, width] float32 in [-1, 1]; of another size by bicubic interpolation, antialiased.
// Throws Cancelled once a stop is requested.
at::Tensor to_pixels(const Image& image, std::int64_t height, std::int64_t width,
                     const std::stop_token& stop = {});

// [1, 1, height, width] float32: 1 where the image, brought to that size likewise, is as bright as
// GenerationRequest::masks says, else 0.
at::Tensor to_mask(const Image& image, std::int64_t height, std::int64_t width,
                   const std::stop_token& stop = {});

// [3, h, w] in [-1, 1], nominally, to eight bits.
Image to_image(const at::Tensor& decoded);

}  // namespace pcpp

#endif  // PCPP_PIPELINE_TENSORS_H_
