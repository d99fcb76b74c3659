// The names of tensors in LoRA files: which weight of which component they change.
#ifndef PCPP_IO_LORA_NAMES_H_
#define PCPP_IO_LORA_NAMES_H_

#include <optional>
#include <string>
#include <string_view>

namespace pcpp {

enum class LoraPart { down, up, alpha };

struct LoraName {
  std::string component;  // "unet", "text_encoder", "text_encoder_2"
  std::string weight;     // as flat_name() makes it
  LoraPart part = LoraPart::down;
};

// Names of kohya's scripts (lora_unet_..., also with the blocks' names of the first Stable
// Diffusion, as it writes SDXL's) and of diffusers, the oldest as well. Nothing for any other. That
// there is such a weight is not checked.
std::optional<LoraName> parse_lora_name(std::string_view name);

// A weight's dotted name in diffusers' layout, without ".weight", as kohya's scripts write it: with
// underscores. Whether a text encoder's names begin with text_model makes no difference.
std::string flat_name(std::string_view weight);

}  // namespace pcpp

#endif  // PCPP_IO_LORA_NAMES_H_
