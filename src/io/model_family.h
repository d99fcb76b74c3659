// Which family a single file's model is of, and what the file leaves to that.
#ifndef PCPP_IO_MODEL_FAMILY_H_
#define PCPP_IO_MODEL_FAMILY_H_

#include <map>
#include <nlohmann/json.hpp>
#include <string>

#include "io/safetensors.h"
#include "io/single_file.h"

namespace pcpp {

// Files of SDXL say in tensors of certain names ("v_pred", "ztsnr") what their scheduler is to be,
// as ComfyUI reads them: what they say becomes part of `scheduler`, its config, which may say
// otherwise. Returns whether they say anything. Throws CheckpointError where they want another
// scheduler than there is.
bool adapt_scheduler(nlohmann::json& scheduler, const SingleFile& file,
                     const std::map<std::string, TensorView>& tensors, const std::string& source);

// By component, for "scheduler" and the tokenizers too, whose is {"pad_token": ...}: the configs
// that the family's published models have, but for what the tensors of `file` tell: how many
// channels the U-Net takes, what it predicts. `tensors` are those that it was made from. Throws
// CheckpointError where they are of no family of Stable Diffusion 1.x, 2.x or SDXL, are not as many
// as its U-Net has, or want another scheduler than theirs.
std::map<std::string, nlohmann::json> family_configs(
    const SingleFile& file, const std::map<std::string, TensorView>& tensors,
    const std::string& source);

}  // namespace pcpp

#endif  // PCPP_IO_MODEL_FAMILY_H_
