// What the public ModelInfo is made from.
#ifndef PCPP_PIPELINE_MODEL_INFO_H_
#define PCPP_PIPELINE_MODEL_INFO_H_

#include <cstddef>
#include <vector>

#include "io/checkpoint.h"
#include "models/clip_text.h"
#include "models/unet_config.h"
#include "ops/convolution_choice.h"
#include "pcpp/pipeline.h"
#include "pipeline/control_nets.h"

namespace pcpp {

// Those that the model has, in their order.
std::vector<ClipShape> text_encoders_of(const Checkpoint& checkpoint);

// Throws CheckpointError where the U-Net reads more than latents, and where a ControlNet's images
// have other sizes than the model's.
ModelInfo model_info(const Checkpoint& checkpoint, const UNetConfig& unet,
                     const std::vector<ControlNetFile>& controls, std::size_t ip_adapters = 0);

// Warns where the folder names the class of a pipeline that does more than Stable Diffusion's: its
// networks may be plain ones.
void warn_of_class(const Checkpoint& checkpoint, bool is_xl, bool has_controls);

// Both branches of a picture of the model's own size. Its convolutions are chosen for these,
// whatever is drawn: so with as many threads a rank no picture depends on how many ranks draw it or
// on what was drawn before, and weights are laid out once.
ImageShape usual_images(const ModelInfo& model);

}  // namespace pcpp

#endif  // PCPP_PIPELINE_MODEL_INFO_H_
