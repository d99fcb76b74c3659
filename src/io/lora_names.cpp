#include "io/lora_names.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
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

// Outside of blocks, and in them, the first Stable Diffusion's names and diffusers'.
constexpr std::array<Pair, 6> kOutside = {{
    {"input_blocks_0_0", "conv_in"},
    {"time_embed_0", "time_embedding_linear_1"},
    {"time_embed_2", "time_embedding_linear_2"},
    {"label_emb_0_0", "add_embedding_linear_1"},
    {"label_emb_0_2", "add_embedding_linear_2"},
    {"out_2", "conv_out"},
}};
constexpr std::array<Pair, 4> kInResnets = {{
    {"in_layers_2", "conv1"},
    {"emb_layers_1", "time_emb_proj"},
    {"out_layers_3", "conv2"},
    {"skip_connection", "conv_shortcut"},
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
std::string translated(std::string_view name, const std::array<Pair, count>& names) {
  const auto found = std::ranges::find(names, name, &Pair::first);
  return std::string(found == names.end() ? name : found->second);
}

template <std::size_t count>
std::string with_other_end(std::string_view name, const std::array<Pair, count>& ends) {
  const auto found =
      std::ranges::find_if(ends, [&](const Pair& end) { return name.ends_with(end.first); });
  if (found == ends.end()) return std::string(name);
  return std::string(name.substr(0, name.size() - found->first.size())).append(found->second);
}

bool remove_start(std::string_view& text, std::string_view start) {
  if (!text.starts_with(start)) return false;
  text.remove_prefix(start.size());
  return true;
}

// The number that `text` begins with, and an underscore after it, which go.
std::optional<int> take_number(std::string_view& text) {
  int number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || number < 0) return std::nullopt;
  text.remove_prefix(static_cast<std::size_t>(end - text.data()));
  if (!remove_start(text, "_")) return std::nullopt;
  return number;
}

// A module of the first Stable Diffusion's U-Net under diffusers' name; any other as it is. Its
// blocks are numbered through, and each level but the last has two layers and one that resizes.
std::string in_diffusers_words(std::string_view name) {
  constexpr int kPerLevel = 3;
  if (std::string outside = translated(name, kOutside); outside != name) return outside;
  std::string_view rest = name;
  if (remove_start(rest, "middle_block_")) {
    switch (take_number(rest).value_or(-1)) {
      case 0:
        return "mid_block_resnets_0_" + translated(rest, kInResnets);
      case 1:
        return fmt::format("mid_block_attentions_0_{}", rest);
      case 2:
        return "mid_block_resnets_1_" + translated(rest, kInResnets);
      default:
        return std::string(name);
    }
  }
  const bool down = remove_start(rest, "input_blocks_");
  if (!down && !remove_start(rest, "output_blocks_")) return std::string(name);
  const std::optional<int> number = take_number(rest);
  const std::optional<int> part = take_number(rest);
  if (!number || !part || (down && *number == 0)) return std::string(name);
  const int index = down ? *number - 1 : *number;
  const std::string block = fmt::format("{}_blocks_{}", down ? "down" : "up", index / kPerLevel);
  if (rest == "op") return block + "_downsamplers_0_conv";
  if (rest == "conv") return block + "_upsamplers_0_conv";
  if (*part == 1) return fmt::format("{}_attentions_{}_{}", block, index % kPerLevel, rest);
  return fmt::format("{}_resnets_{}_{}", block, index % kPerLevel, translated(rest, kInResnets));
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

std::optional<LoraName> parse_lora_name(std::string_view written) {
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
                      ? with_other_end(in_diffusers_words(flat), kInUNetAttention)
                      : with_other_end(flat, kInTextAttention);
  return result;
}

}  // namespace pcpp
