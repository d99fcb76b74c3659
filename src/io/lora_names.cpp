#include "io/lora_names.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <utility>

namespace pcpp {
namespace {

using Pair = std::pair<std::string_view, std::string_view>;

struct Ending {
  std::string_view text;
  LoraPart part;
};

constexpr std::array<Ending, 28> kEndings = {{
    // The first of a part is its name (name_of). Those of kohya and LyCORIS:
    {".lora_down.weight", LoraPart::down},
    {".lora_up.weight", LoraPart::up},
    {".lora_mid.weight", LoraPart::mid},
    {".hada_w1_a", LoraPart::hada_w1_a},
    {".hada_w1_b", LoraPart::hada_w1_b},
    {".hada_t1", LoraPart::hada_t1},
    {".hada_w2_a", LoraPart::hada_w2_a},
    {".hada_w2_b", LoraPart::hada_w2_b},
    {".hada_t2", LoraPart::hada_t2},
    {".lokr_w1", LoraPart::lokr_w1},
    {".lokr_w1_a", LoraPart::lokr_w1_a},
    {".lokr_w1_b", LoraPart::lokr_w1_b},
    {".lokr_w2", LoraPart::lokr_w2},
    {".lokr_w2_a", LoraPart::lokr_w2_a},
    {".lokr_w2_b", LoraPart::lokr_w2_b},
    {".lokr_t2", LoraPart::lokr_t2},
    {".alpha", LoraPart::alpha},
    {".dora_scale", LoraPart::dora_scale},
    {".lora_magnitude_vector", LoraPart::magnitude_vector},  // diffusers, by PEFT
    {".lora_magnitude_vector.weight", LoraPart::magnitude_vector},
    {".lora_A.weight", LoraPart::down},
    {".lora_B.weight", LoraPart::up},
    {".lora.down.weight", LoraPart::down},  // before PEFT
    {".lora.up.weight", LoraPart::up},
    {"_lora.down.weight", LoraPart::down},  // its attention processors
    {"_lora.up.weight", LoraPart::up},
    {".lora_linear_layer.down.weight", LoraPart::down},  // its text encoders
    {".lora_linear_layer.up.weight", LoraPart::up},
}};

constexpr std::array<Pair, 11> kComponents = {{
    {"lora_unet_", "unet"},
    {"lora_te_", "text_encoder"},
    {"lora_te1_", "text_encoder"},
    {"lora_te2_", "text_encoder_2"},
    {"unet.", "unet"},
    {"text_encoder.", "text_encoder"},
    {"text_encoder_2.", "text_encoder_2"},
    {"diffusion_model.", "unet"},  // ComfyUI
    {"text_encoders.clip_l.transformer.", "text_encoder"},
    {"text_encoders.clip_h.transformer.", "text_encoder"},
    {"text_encoders.clip_g.transformer.", "text_encoder_2"},
}};

// The ends of old diffusers' names for attention, and those of the weights.
constexpr std::array<Pair, 5> kInUNetAttention = {{
    {"_processor_to_q", "_to_q"},
    {"_processor_to_k", "_to_k"},
    {"_processor_to_v", "_to_v"},
    {"_processor_to_out", "_to_out_0"},
    {"_processor_to_out_0", "_to_out_0"},
}};
constexpr std::array<Pair, 4> kInTextAttention = {{
    {"_self_attn_to_q", "_self_attn_q_proj"},
    {"_self_attn_to_k", "_self_attn_k_proj"},
    {"_self_attn_to_v", "_self_attn_v_proj"},
    {"_self_attn_to_out", "_self_attn_out_proj"},
}};

template <std::size_t count>
std::string with_other_end(std::string_view name, const std::array<Pair, count>& ends) {
  const auto found =
      std::ranges::find_if(ends, [&](const Pair& end) { return name.ends_with(end.first); });
  if (found == ends.end()) return std::string(name);
  return std::string(name.substr(0, name.size() - found->first.size())).append(found->second);
}

// An original name's dots stand beside its numbers, and between ff and net.
std::string with_dots(std::string_view flat) {
  std::string name(flat);
  const auto is_digit = [&](std::size_t i) {
    return i < name.size() && std::isdigit(static_cast<unsigned char>(name[i])) != 0;
  };
  for (std::size_t i = 0; i < name.size(); ++i) {
    const bool is_in_ff = i >= 2 && flat.substr(i - 2).starts_with("ff_net");
    if (name[i] == '_' && (is_digit(i - 1) || is_digit(i + 1) || is_in_ff)) name[i] = '.';
  }
  return name;
}

// A U-Net's module under diffusers' name, if the flat one is an original name; else as it is.
std::string in_diffusers_words(std::string_view flat, int per_level) {
  const original::Module module = original::unet_module(with_dots(flat), per_level);
  return module ? flat_name(*module) : std::string(flat);
}

// PEFT writes an adapter's name into those of its matrices: lora_A.default.weight.
std::string without_adapter(std::string_view name) {
  constexpr std::string_view kWeight = ".weight";
  if (!name.ends_with(kWeight)) return std::string(name);
  const std::string_view module = name.substr(0, name.size() - kWeight.size());
  const std::string_view matrix = module.substr(0, std::min(module.rfind('.'), module.size()));
  const bool is_named = matrix.ends_with(".lora_A") || matrix.ends_with(".lora_B") ||
                        matrix.ends_with(".lora_magnitude_vector");
  return std::string(is_named ? matrix : module).append(kWeight);
}

// Whether a name begins as those of a U-Net's modules in diffusers.
bool is_of_unet(std::string_view name) {
  constexpr std::array<std::string_view, 7> kStarts = {
      "down_blocks.", "mid_block.",      "up_blocks.",    "conv_in",
      "conv_out",     "time_embedding.", "add_embedding."};
  return std::ranges::any_of(kStarts,
                             [&](std::string_view start) { return name.starts_with(start); });
}

}  // namespace

std::string flat_name(std::string_view weight) {
  std::string flat(weight);
  std::ranges::replace(flat, '.', '_');
  constexpr std::string_view kTextModel = "text_model_";
  return flat.starts_with(kTextModel) ? flat.substr(kTextModel.size()) : flat;
}

std::string_view name_of(LoraPart part) {
  return std::ranges::find(kEndings, part, &Ending::part)->text.substr(1);
}

std::optional<LoraName> parse_lora_name(std::string_view written, int per_level) {
  const std::string plain = without_adapter(written);
  std::string_view name = plain;
  const auto ending =
      std::ranges::find_if(kEndings, [&](const Ending& each) { return name.ends_with(each.text); });
  if (ending == kEndings.end()) return std::nullopt;
  name.remove_suffix(ending->text.size());
  const auto component = std::ranges::find_if(
      kComponents, [&](const Pair& each) { return name.starts_with(each.first); });
  LoraName result{"unet", {}, ending->part};
  if (component != kComponents.end()) {
    result.component = component->second;
    name.remove_prefix(component->first.size());
  } else if (!is_of_unet(name)) {
    return std::nullopt;
  }
  const std::string flat = flat_name(name);
  result.weight = result.component == "unet"
                      ? with_other_end(in_diffusers_words(flat, per_level), kInUNetAttention)
                      : with_other_end(flat, kInTextAttention);
  return result;
}

}  // namespace pcpp
