#include "io/original_names.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>

namespace pcpp::original {
namespace {

// Modules of the U-Net.
constexpr std::array<Pair, 7> kUNetOutside = {{
    {"input_blocks.0.0", "conv_in"},
    {"time_embed.0", "time_embedding.linear_1"},
    {"time_embed.2", "time_embedding.linear_2"},
    {"label_emb.0.0", "add_embedding.linear_1"},
    {"label_emb.0.2", "add_embedding.linear_2"},
    {"out.0", "conv_norm_out"},
    {"out.2", "conv_out"},
}};
constexpr std::array<Pair, 6> kUNetResnet = {{
    {"in_layers.0", "norm1"},
    {"in_layers.2", "conv1"},
    {"emb_layers.1", "time_emb_proj"},
    {"out_layers.0", "norm2"},
    {"out_layers.3", "conv2"},
    {"skip_connection", "conv_shortcut"},
}};

// Those whose names are the same in both.
constexpr std::array<Name, 3> kTransformer = {"norm", "proj_in", "proj_out"};
constexpr std::array<Name, 13> kTransformerBlock = {
    "norm1",         "norm2",      "norm3",         "attn1.to_q", "attn1.to_k",
    "attn1.to_v",    "attn2.to_q", "attn2.to_k",    "attn2.to_v", "attn1.to_out.0",
    "ff.net.0.proj", "ff.net.2",   "attn2.to_out.0"};

// `part` 0 is the layer's ResNet, 1 the transformer after that.
Module layer_module(std::string_view block, int layer, int part, std::string_view module) {
  if (part == 0) {
    return renamed(fmt::format("{}.resnets.{}.", block, layer), module, kUNetResnet);
  }
  std::string_view inner = module;
  const bool is_in_transformer =
      is_one_of(module, kTransformer) || (remove_start(inner, "transformer_blocks.") &&
                                          take_index(inner) && is_one_of(inner, kTransformerBlock));
  if (part != 1 || !is_in_transformer) return std::nullopt;
  return fmt::format("{}.attentions.{}.{}", block, layer, module);
}

Module middle_module(std::string_view module) {
  const std::optional<int> part = take_index(module);
  if (!part || *part > 2) return std::nullopt;
  return layer_module("mid_block", *part / 2, *part % 2, module);
}

}  // namespace

Module renamed(std::string_view scope, std::string_view module, std::span<const Pair> names) {
  const auto found = std::ranges::find(names, module, &Pair::first);
  if (found == names.end()) return std::nullopt;
  return std::string(scope).append(found->second);
}

bool is_one_of(std::string_view module, std::span<const Name> names) {
  return std::ranges::find(names, module) != names.end();
}

bool remove_start(std::string_view& text, std::string_view start) {
  if (!text.starts_with(start)) return false;
  text.remove_prefix(start.size());
  return true;
}

std::optional<int> take_index(std::string_view& text) {
  int index = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), index);
  if (error != std::errc() || index < 0 || index > kMostIndex) return std::nullopt;
  const auto length = static_cast<std::size_t>(end - text.data());
  if (length != fmt::formatted_size("{}", index)) return std::nullopt;  // 01
  text.remove_prefix(length);
  if (!remove_start(text, ".")) return std::nullopt;
  return index;
}

Module unet_module(std::string_view module, int per_level) {
  if (Module outside = renamed("", module, kUNetOutside)) return outside;
  if (remove_start(module, "middle_block.")) return middle_module(module);
  const bool down = remove_start(module, "input_blocks.");
  if (!down && !remove_start(module, "output_blocks.")) return std::nullopt;
  const std::optional<int> number = take_index(module);
  const std::optional<int> part = take_index(module);
  if (!number || !part || (down && *number == 0)) return std::nullopt;
  const int index = down ? *number - 1 : *number;
  const int layer = index % per_level;
  const bool is_last = layer == per_level - 1;
  const std::string block = fmt::format("{}_blocks.{}", down ? "down" : "up", index / per_level);
  if (down && is_last) {
    if (*part != 0 || module != "op") return std::nullopt;
    return block + ".downsamplers.0.conv";
  }
  // Its place is after a transformer, where there is one.
  if (!down && is_last && (*part == 1 || *part == 2) && module == "conv") {
    return block + ".upsamplers.0.conv";
  }
  return layer_module(block, layer, *part, module);
}

}  // namespace pcpp::original
