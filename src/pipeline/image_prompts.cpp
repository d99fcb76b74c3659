#include "pipeline/image_prompts.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/zeros_like.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <iterator>
#include <map>
#include <utility>

#include "base/check.h"
#include "io/input_file.h"
#include "io/ip_adapter_file.h"
#include "models/ip_adapter.h"
#include "ops/weight_scope.h"
#include "pipeline/pictures.h"
#include "pipeline/tensors.h"

namespace pcpp {

namespace {

// Of the pictures that CLIP was trained on: red, green, blue.
constexpr std::array kMean = {0.48145466, 0.4578275, 0.40821073};
constexpr std::array kDeviation = {0.26862954, 0.26130258, 0.27577711};

void check_projection(const IpAdapterFile& adapter, const UNetConfig& unet) {
  const ImageProjectionConfig& config = adapter.projection_config;
  check<CheckpointError>(
      config.text_width == unet.text_width,
      "{}: the IP-Adapter makes tokens of {} values, where the U-Net reads {}: it "
      "is for another model",
      adapter.place, config.text_width, unet.text_width);
  const ClipVisionConfig& encoder = adapter.encoder_config;
  const std::int64_t seen = config.resampler ? encoder.layer.width : encoder.projection_width;
  check<CheckpointError>(config.encoder_width == seen,
                         "{}: the IP-Adapter reads {} values and the image encoder {} makes {}: "
                         "name the one that it was made with",
                         adapter.place, config.encoder_width, adapter.encoder.place(), seen);
  try {
    const ImageProjection checked(
        config, WeightScope::shapes_of(adapter.projection).scope(std::string(kImageProjection)));
  } catch (const CheckpointError& error) {
    fail<CheckpointError>(
        "{} (the sizes of an IP-Adapter are told by its tensors: this one is of another kind or "
        "damaged)",
        error.what());
  }
}

// At most so many pixels each way.
Image middle_of(const Image& image, int most) {
  Image middle{std::min(image.width, most), std::min(image.height, most), {}};
  const int left = (image.width - middle.width) / 2;
  const int top = (image.height - middle.height) / 2;
  for (int row = 0; row < middle.height; ++row) {
    const auto first =
        image.rgb.begin() + 3 * (std::ptrdiff_t{top + row} * image.width + std::ptrdiff_t{left});
    middle.rgb.insert(middle.rgb.end(), first, first + std::ptrdiff_t{3} * middle.width);
  }
  return middle;
}

}  // namespace

std::vector<IpAdapterFile> open_ip_adapters(const std::vector<IpAdapter>& adapters,
                                            const std::optional<std::string>& variant,
                                            const UNetConfig& unet) {
  std::vector<IpAdapterFile> files;
  for (const IpAdapter& adapter : adapters) {
    check<ConfigError>(
        !adapter.file.empty() && !adapter.image_encoder.empty(),
        "the IP-Adapter '{}' with the image encoder '{}': name a file and the folder "
        "of an image encoder",
        adapter.file.string(), adapter.image_encoder.string());
    const std::string place = adapter.file.string();
    const SafetensorsFile file = SafetensorsFile::open(from_root(adapter.file));
    IpAdapterTensors tensors = read_ip_adapter_file(file.tensors(), place);
    const ImageProjectionConfig projection = image_projection_config_of(tensors.projection, place);
    Component encoder(from_root(adapter.image_encoder), variant);
    const ClipVisionConfig encoder_config = read_clip_vision_config(encoder.config());
    files.push_back({place, Weights(file, adapted_attention(tensors.attention, unet, place), {}),
                     Weights(file, std::move(tensors.projection), {}), projection,
                     std::move(encoder), encoder_config});
    check_projection(files.back(), unet);
  }
  return files;
}

at::Tensor to_clip_pixels(const Image& image, std::int64_t side, const std::stop_token& stop) {
  const int shorter = std::min(image.width, image.height);
  // Three squares, and beyond them what the filter reads of the smallest pictures.
  const int most = 3 * shorter + 4;
  if (std::max(image.width, image.height) > most) {
    return to_clip_pixels(middle_of(image, most), side, stop);
  }
  const std::int64_t rows = side * image.height / shorter;
  const std::int64_t columns = side * image.width / shorter;
  const at::Tensor bytes = to_pixels(image, rows, columns, stop).add_(1).mul_(127.5).round_();
  at::Tensor pixels = bytes.narrow(2, (rows - side) / 2, side)
                          .narrow(3, (columns - side) / 2, side)
                          .div(255)
                          .contiguous();
  for (std::size_t channel = 0; channel < kMean.size(); ++channel) {
    pixels.select(1, static_cast<std::int64_t>(channel))
        .sub_(kMean[channel])
        .div_(kDeviation[channel]);
  }
  return pixels;
}

ImageEncoders::ImageEncoders(const std::vector<IpAdapterFile>& adapters, at::ScalarType dtype,
                             at::Device device, const std::stop_token& stop)
    : device_(device) {
  const auto scope_of = [&](const Weights& weights) {
    return WeightScope(weights, dtype, device, stop);
  };
  std::map<std::string, std::shared_ptr<const ClipVision>> encoders;
  for (const IpAdapterFile& file : adapters) {
    std::shared_ptr<const ClipVision>& encoder = encoders[file.encoder.place()];
    if (!encoder) {
      encoder =
          std::make_shared<const ClipVision>(file.encoder_config, scope_of(file.encoder.weights()));
    }
    adapters_.push_back(
        {encoder, file.encoder_config.image_size, file.projection_config.resampler.has_value(),
         ImageProjection(file.projection_config,
                         scope_of(file.projection).scope(std::string(kImageProjection)))});
  }
}

at::Tensor ImageEncoders::see(const Adapter& adapter, const at::Tensor& pixels,
                              const std::stop_token& stop) const {
  const at::Tensor there = pixels.to(device_);
  return adapter.reads_layer ? adapter.encoder->penultimate(there, stop)
                             : adapter.encoder->embed(there, stop);
}

BranchConditions ImageEncoders::encode(const GenerationRequest& request, const RequestSizes& sizes,
                                       BranchConditions conditions) const {
  for (std::size_t i = 0; i < adapters_.size(); ++i) {
    const Adapter& adapter = adapters_[i];
    const auto& [images, scale] = request.image_prompts[i];
    const auto tokens_of = [&](const at::Tensor& seen) {
      return adapter.projection(seen, request.stop).to(at::kCPU);
    };
    std::vector<at::Tensor> tokens;
    at::Tensor nothing;  // seen in place of a picture
    for (const Image& image : images) {
      const at::Tensor pixels = to_clip_pixels(image, adapter.image_size, request.stop);
      const at::Tensor seen = see(adapter, pixels, request.stop);
      tokens.push_back(tokens_of(seen));
      if (!sizes.guided || nothing.defined()) continue;
      nothing = adapter.reads_layer ? see(adapter, at::zeros_like(pixels), request.stop)
                                    : at::zeros_like(seen);
    }
    conditions.conditional.images.push_back({for_each_picture(at::cat(tokens), sizes), scale});
    if (sizes.guided) {
      conditions.unconditional->images.push_back(
          {for_each_picture(tokens_of(nothing), sizes), scale});
    }
  }
  return conditions;
}

}  // namespace pcpp
