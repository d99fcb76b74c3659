// The IP-Adapters of a pipeline, and what they make of a request's image prompts.
#ifndef PCPP_PIPELINE_IMAGE_PROMPTS_H_
#define PCPP_PIPELINE_IMAGE_PROMPTS_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "io/checkpoint.h"
#include "io/weights.h"
#include "models/clip_vision.h"
#include "models/image_projection.h"
#include "models/unet_config.h"
#include "pcpp/config.h"
#include "pcpp/pipeline.h"
#include "pipeline/conditions.h"
#include "pipeline/request.h"

namespace pcpp {

struct IpAdapterFile {
  std::string place;
  Weights attention;  // by the U-Net's scopes
  Weights projection;
  ImageProjectionConfig projection_config;
  Component encoder;
  ClipVisionConfig encoder_config;
};

// By names and shapes; no weight is read. Throws CheckpointError for one that cannot be read, or is
// for another U-Net or image encoder, ConfigError where one is not named.
std::vector<IpAdapterFile> open_ip_adapters(const std::vector<IpAdapter>& adapters,
                                            const std::optional<std::string>& variant,
                                            const UNetConfig& unet);

// As transformers' CLIPImageProcessor: the shorter side brought to `side` pixels, the square in the
// middle cut out, CLIP's mean and deviation taken away: [1, 3, side, side]. libtorch's bicubic
// filter in place of Pillow's, which rounds between its two passes. Of pictures more than three
// times as long as wide what lies far from the middle is cut off first. Throws Cancelled once a
// stop is requested.
at::Tensor to_clip_pixels(const Image& image, std::int64_t side, const std::stop_token& stop = {});

// The adapters' image encoders, of which those that name one folder share one, and what makes
// tokens of what these see. Immutable.
class ImageEncoders {
 public:
  // Throws CheckpointError, and Cancelled between two weights once a stop is requested.
  ImageEncoders(const std::vector<IpAdapterFile>& adapters, at::ScalarType dtype, at::Device device,
                const std::stop_token& stop);

  // `conditions` with the tokens of a checked request's image prompts, on the CPU. Those of the
  // unconditional branch are, as diffusers': of zeros in place of the encoder's one vector, or of a
  // picture that is zeros after to_clip_pixels(). Throws Cancelled.
  BranchConditions encode(const GenerationRequest& request, const RequestSizes& sizes,
                          BranchConditions conditions) const;

 private:
  struct Adapter {
    std::shared_ptr<const ClipVision> encoder;
    std::int64_t image_size;
    bool reads_layer;  // the penultimate one, else the encoder's one vector
    ImageProjection projection;
  };

  at::Tensor see(const Adapter& adapter, const at::Tensor& pixels,
                 const std::stop_token& stop) const;

  std::vector<Adapter> adapters_;
  at::Device device_;
};

}  // namespace pcpp

#endif  // PCPP_PIPELINE_IMAGE_PROMPTS_H_
