// What the public ModelInfo is made from.
#ifndef PCPP_PIPELINE_MODEL_INFO_H_
#define PCPP_PIPELINE_MODEL_INFO_H_

#include "io/checkpoint.h"
#include "models/unet_config.h"
#include "pcpp/pipeline.h"

namespace pcpp {

// Throws CheckpointError where the U-Net is not one of a text-to-image model.
ModelInfo model_info(const Checkpoint& checkpoint, const UNetConfig& unet);

}  // namespace pcpp

#endif  // PCPP_PIPELINE_MODEL_INFO_H_
