// Names of single files as diffusers' components and names.
#ifndef PCPP_IO_SINGLE_FILE_NAMES_H_
#define PCPP_IO_SINGLE_FILE_NAMES_H_

#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "io/safetensors.h"

namespace pcpp::single_file {

inline constexpr std::string_view kUNetPrefix = "model.diffusion_model.";
inline constexpr std::string_view kVaePrefix = "first_stage_model.";

enum class Form { unet, vae, clip, open_clip };

// What has names that begin alike.
struct Part {
  std::string_view prefix;
  std::string_view component;
  Form form;
  std::string_view word;  // for people
};

// What becomes of a tensor: `linear` of a 1x1 convolution; `thirds` are the rows of q, k and v.
enum class Way { same, linear, thirds, transposed, left_out };

struct Place {
  std::string module;
  std::string_view parameter;
  Way way = Way::same;
};

// What a name alone does not tell.
struct Layout {
  int per_level = 0;       // of the U-Net's numbered blocks: its layers and the one that resizes
  int decoder_levels = 0;  // of the VAE
};

// Whether one of the tensors has a name that begins so.
bool has_name_of(const std::map<std::string, TensorView>& tensors, std::string_view start);

// The part that a tensor of this name is of; null where it is of none.
const Part* part_of(std::string_view name);

// The prefixes are those of the U-Net's, or a ControlNet's, and of the VAE's names.
Layout layout_of(const std::map<std::string, TensorView>& tensors,
                 std::string_view unet_prefix = kUNetPrefix,
                 std::string_view vae_prefix = kVaePrefix);

// `name` is without the part's prefix. Nothing where no such part has a tensor of this name.
std::optional<Place> place_of(const Part& part, std::string_view name, const Layout& layout);
// The same of a ControlNet's tensors.
std::optional<Place> control_net_place(std::string_view name, const Layout& layout);

}  // namespace pcpp::single_file

#endif  // PCPP_IO_SINGLE_FILE_NAMES_H_
