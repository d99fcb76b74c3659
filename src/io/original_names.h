// The names that the first Stable Diffusion's checkpoints give to modules, as diffusers' names for
// them: single files have them, and LoRAs may.
#ifndef PCPP_IO_ORIGINAL_NAMES_H_
#define PCPP_IO_ORIGINAL_NAMES_H_

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>

namespace pcpp::original {

// In diffusers; nothing where the original name is none of a module.
using Module = std::optional<std::string>;
using Name = std::string_view;
// The original name and diffusers'.
using Pair = std::pair<Name, Name>;

inline constexpr int kMostIndex = 999;
// Of SD 1.x, 2.x and SDXL.
inline constexpr int kUsualPerLevel = 3;

// `per_level` is how many of the numbered blocks a level has: its layers on the way down, and the
// one that resizes.
Module unet_module(std::string_view module, int per_level);

// `module` under its other name, in `scope`.
Module renamed(std::string_view scope, std::string_view module, std::span<const Pair> names);
bool is_one_of(std::string_view module, std::span<const Name> names);

bool remove_start(std::string_view& text, std::string_view start);
// The index that `text` begins with, and the dot after it, which go.
std::optional<int> take_index(std::string_view& text);

}  // namespace pcpp::original

#endif  // PCPP_IO_ORIGINAL_NAMES_H_
