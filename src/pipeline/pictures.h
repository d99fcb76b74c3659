// A request's images as tensors of its sizes.
#ifndef PCPP_PIPELINE_PICTURES_H_
#define PCPP_PIPELINE_PICTURES_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <stop_token>
#include <vector>

#include "pcpp/image.h"
#include "pipeline/request.h"

namespace pcpp {

// to_pixels() or to_mask().
using ConvertImage =
    std::function<at::Tensor(const Image&, std::int64_t, std::int64_t, const std::stop_token&)>;

// [n, c, height, width], converted one by one. Throws Cancelled once a stop is requested.
at::Tensor all_of(const std::vector<Image>& images, const ConvertImage& convert,
                  const RequestSizes& sizes, const std::stop_token& stop);

// One of `values` for each of the request's pictures: a prompt's pictures follow each other, and
// all have its image. (diffusers deals images out in turn, whosever prompt comes next.)
at::Tensor for_each_picture(const at::Tensor& values, const RequestSizes& sizes);

}  // namespace pcpp

#endif  // PCPP_PIPELINE_PICTURES_H_
