// The names of tensors in LoRA files: which weight of which component they change, and which part
// of its update they are.
#ifndef PCPP_IO_LORA_NAMES_H_
#define PCPP_IO_LORA_NAMES_H_

#include <optional>
#include <string>
#include <string_view>

#include "io/original_names.h"

namespace pcpp {

enum class LoraPart {
  down,
  up,
  mid,
  hada_w1_a,
  hada_w1_b,
  hada_t1,
  hada_w2_a,
  hada_w2_b,
  hada_t2,
  lokr_w1,
  lokr_w1_a,
  lokr_w1_b,
  lokr_w2,
  lokr_w2_a,
  lokr_w2_b,
  lokr_t2,
  alpha,
  dora_scale,        // as LyCORIS writes DoRA's magnitudes
  magnitude_vector,  // as PEFT does
};

// As kohya's scripts and LyCORIS write it after the weight's name: "lora_down.weight", "hada_w1_a".
std::string_view name_of(LoraPart part);

struct LoraName {
  std::string component;  // "unet", "text_encoder", "text_encoder_2"
  std::string weight;     // as flat_name() makes it
  LoraPart part = LoraPart::down;
};

// Names of kohya's scripts and LyCORIS (lora_unet_..., also with the blocks' names of the first
// Stable Diffusion, as they write SDXL's), of ComfyUI, and of diffusers and PEFT, the oldest and
// those with an adapter's name as well. Nothing for any other. That there is such a weight is not
// checked. `per_level` is the U-Net's, as original::unet_module() takes it.
std::optional<LoraName> parse_lora_name(std::string_view written,
                                        int per_level = original::kUsualPerLevel);

// A weight's dotted name in diffusers' layout, without ".weight", as kohya's scripts write it: with
// underscores. Whether a text encoder's names begin with text_model makes no difference.
std::string flat_name(std::string_view weight);

}  // namespace pcpp

#endif  // PCPP_IO_LORA_NAMES_H_
