#include "pipeline/pictures.h"

#include <ATen/ops/cat.h>

namespace pcpp {

at::Tensor all_of(const std::vector<Image>& images, const ConvertImage& convert,
                  const RequestSizes& sizes, const std::stop_token& stop) {
  std::vector<at::Tensor> converted;
  for (const Image& image : images) {
    converted.push_back(convert(image, sizes.height, sizes.width, stop));
  }
  return at::cat(converted);
}

at::Tensor for_each_picture(const at::Tensor& values, const RequestSizes& sizes) {
  return values.repeat_interleave(sizes.images / values.size(0), 0);
}

}  // namespace pcpp
