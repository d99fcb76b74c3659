// Checkpoints in one file, as CompVis and Stability AI published Stable Diffusion 1.x, 2.x and SDXL
// and as other programs save them, and VAEs alone in one.
#ifndef PCPP_IO_SINGLE_FILE_H_
#define PCPP_IO_SINGLE_FILE_H_

#include <cstddef>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "io/safetensors.h"

namespace pcpp {

// What a single file holds, by diffusers' components and names; those of text encoders all begin
// with text_model, but for text_projection.weight.
struct SingleFile {
  // "unet", "vae", "text_encoder", "text_encoder_2"; those that the file has.
  std::map<std::string, std::map<std::string, TensorView>> components;
  // Memory of the views that the file does not hold as they are (transposed ones).
  std::vector<std::shared_ptr<const std::vector<std::byte>>> made;
};

// `tensors` are a checked file's, whose memory outlives the result; `source` names it in errors.
// Which tensors there are, and their shapes, is checked as far as reading needs it. Left out, as by
// diffusers, are EMA weights and the schedule's tensors, and of a text encoder of Stable Diffusion
// 2.x the projection and layer 23, which it never reads. A projection is copied: one of more than
// 4096 rows or columns is refused. Throws CheckpointError where the file has no U-Net, where a
// tensor of a component has a name or a shape that none has there, and where two become one.
SingleFile read_single_file(const std::map<std::string, TensorView>& tensors,
                            const std::string& source);

// The VAE of a file that holds one alone, with diffusers' names or with those that it was published
// with, or of one that holds more. Its tensors by diffusers' names. Throws CheckpointError as
// read_single_file() does, and where there is no VAE in it.
std::map<std::string, TensorView> read_vae_file(const std::map<std::string, TensorView>& tensors,
                                                const std::string& source);

}  // namespace pcpp

#endif  // PCPP_IO_SINGLE_FILE_H_
