#include "io/single_file_names.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

#include "io/original_names.h"

namespace pcpp::single_file {
namespace {

using original::is_one_of;
using original::Module;
using original::Name;
using original::Pair;
using original::remove_start;
using original::renamed;
using original::take_index;

constexpr std::string_view kSd2TextPrefix = "cond_stage_model.model.";
constexpr std::string_view kSd2SgmTextPrefix = "conditioner.embedders.0.model.";  // later files'
constexpr std::array<Part, 7> kParts = {{
    {kUNetPrefix, "unet", Form::unet, "U-Net"},
    {kVaePrefix, "vae", Form::vae, "VAE"},
    {"cond_stage_model.transformer.", "text_encoder", Form::clip, "text encoder"},
    {"conditioner.embedders.0.transformer.", "text_encoder", Form::clip, "text encoder"},
    {kSd2TextPrefix, "text_encoder", Form::open_clip, "text encoder"},
    {kSd2SgmTextPrefix, "text_encoder", Form::open_clip, "text encoder"},
    {"conditioner.embedders.1.model.", "text_encoder_2", Form::open_clip, "text encoder"},
}};

// Modules by their names in a single file and in diffusers.
constexpr std::array<Pair, 5> kVaeResnet = {{
    {"norm1", "norm1"},
    {"conv1", "conv1"},
    {"norm2", "norm2"},
    {"conv2", "conv2"},
    {"nin_shortcut", "conv_shortcut"},
}};
constexpr std::array<Pair, 5> kVaeAttention = {{
    {"norm", "group_norm"},
    {"q", "to_q"},
    {"k", "to_k"},
    {"v", "to_v"},
    {"proj_out", "to_out.0"},
}};
constexpr std::array<Pair, 3> kVaeOutside = {
    {{"conv_in", "conv_in"}, {"norm_out", "conv_norm_out"}, {"conv_out", "conv_out"}}};
constexpr std::array<Pair, 5> kOpenClipLayer = {{
    {"ln_1", "layer_norm1"},
    {"ln_2", "layer_norm2"},
    {"mlp.c_fc", "mlp.fc1"},
    {"mlp.c_proj", "mlp.fc2"},
    {"attn.out_proj", "self_attn.out_proj"},
}};

// Modules whose names are the same in both.
constexpr std::array<Name, 3> kClipOutside = {"embeddings.token_embedding",
                                              "embeddings.position_embedding", "final_layer_norm"};
constexpr std::array<Name, 8> kClipLayer = {
    "layer_norm1",      "layer_norm2",      "mlp.fc1",          "mlp.fc2",
    "self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.out_proj"};

// Of the convolutions that a control image goes through, each with its activation after it.
constexpr int kImageConvolutions = 8;

Module image_module(std::string_view module) {
  const std::string numbered = std::string(module) + '.';  // as take_index() wants it
  std::string_view rest = numbered;
  const std::optional<int> index = take_index(rest);
  if (!index || !rest.empty() || *index % 2 != 0 || *index / 2 >= kImageConvolutions) {
    return std::nullopt;
  }
  const int convolution = *index / 2;
  const std::string scope = "controlnet_cond_embedding.";
  if (convolution == 0) return scope + "conv_in";
  if (convolution + 1 == kImageConvolutions) return scope + "conv_out";
  return fmt::format("{}blocks.{}", scope, convolution - 1);
}

Module control_net_module(std::string_view module, const Layout& layout) {
  if (module == "middle_block_out.0") return "controlnet_mid_block";
  if (remove_start(module, "input_hint_block.")) return image_module(module);
  if (!remove_start(module, "zero_convs.")) return original::unet_module(module, layout.per_level);
  const std::optional<int> index = take_index(module);
  if (!index || module != "0") return std::nullopt;
  return fmt::format("controlnet_down_blocks.{}", *index);
}

Module vae_middle_module(const std::string& scope, std::string_view module) {
  if (remove_start(module, "attn_1.")) {
    return renamed(scope + "attentions.0.", module, kVaeAttention);
  }
  if (remove_start(module, "block_1.")) return renamed(scope + "resnets.0.", module, kVaeResnet);
  if (remove_start(module, "block_2.")) return renamed(scope + "resnets.1.", module, kVaeResnet);
  return std::nullopt;
}

Module vae_module(std::string_view module, const Layout& layout) {
  if (module == "quant_conv" || module == "post_quant_conv") return std::string(module);
  const bool down = remove_start(module, "encoder.");
  if (!down && !remove_start(module, "decoder.")) return std::nullopt;
  const std::string half = down ? "encoder." : "decoder.";
  if (Module outside = renamed(half, module, kVaeOutside)) return outside;
  if (remove_start(module, "mid.")) return vae_middle_module(half + "mid_block.", module);
  if (!remove_start(module, down ? "down." : "up.")) return std::nullopt;
  const std::optional<int> level = take_index(module);
  if (!level) return std::nullopt;
  const std::string block =
      down ? fmt::format("{}down_blocks.{}.", half, *level)
           : fmt::format("{}up_blocks.{}.", half, layout.decoder_levels - 1 - *level);
  if (module == (down ? "downsample.conv" : "upsample.conv")) {
    return block + (down ? "downsamplers.0.conv" : "upsamplers.0.conv");
  }
  if (!remove_start(module, "block.")) return std::nullopt;
  const std::optional<int> layer = take_index(module);
  if (!layer) return std::nullopt;
  return renamed(fmt::format("{}resnets.{}.", block, *layer), module, kVaeResnet);
}

Module clip_module(std::string_view module) {
  remove_start(module, "text_model.");
  std::string_view in_layer = module;
  const bool is_known =
      is_one_of(module, kClipOutside) || (remove_start(in_layer, "encoder.layers.") &&
                                          take_index(in_layer) && is_one_of(in_layer, kClipLayer));
  if (!is_known) return std::nullopt;
  return std::string("text_model.").append(module);
}

// At its last dot.
std::pair<std::string_view, std::string_view> split(std::string_view name) {
  const std::size_t dot = name.rfind('.');
  if (dot == std::string_view::npos) return {{}, name};
  return {name.substr(0, dot), name.substr(dot + 1)};
}

std::optional<Place> placed(Module module, std::string_view parameter, Way way = Way::same) {
  if (!module || (parameter != "weight" && parameter != "bias")) return std::nullopt;
  return Place{std::move(*module), parameter, way};
}

Place left_out() { return {{}, {}, Way::left_out}; }

std::optional<Place> vae_place(std::string_view name, const Layout& layout) {
  // What its training leaves behind.
  if (name.starts_with("loss.") || name.starts_with("model_ema.") || name == "global_step") {
    return left_out();
  }
  const auto [module, parameter] = split(name);
  const Module found = vae_module(module, layout);
  const bool is_linear = found && found->find(".attentions.") != std::string::npos &&
                         !found->ends_with("group_norm") && parameter == "weight";
  return placed(found, parameter, is_linear ? Way::linear : Way::same);
}

std::optional<Place> clip_place(std::string_view name) {
  // Of the whole CLIP, which some programs keep in part, and what no weight is.
  if (name == "logit_scale" || name == "text_projection.weight" ||
      name == "visual_projection.weight" || name.starts_with("vision_model.") ||
      name.ends_with("embeddings.position_ids")) {
    return left_out();
  }
  const auto [module, parameter] = split(name);
  return placed(clip_module(module), parameter);
}

std::optional<Place> open_clip_place(std::string_view name) {
  if (name == "logit_scale" || name == "attn_mask" ||
      name == "transformer.text_model.embeddings.position_ids") {  // of merged models
    return left_out();
  }
  if (name == "positional_embedding") {
    return placed("text_model.embeddings.position_embedding", "weight");
  }
  if (name == "text_projection") return placed("text_projection", "weight", Way::transposed);
  auto [module, parameter] = split(name);
  if (module == "text_projection") return placed("text_projection", parameter);
  if (module == "token_embedding") {
    return placed("text_model.embeddings.token_embedding", parameter);
  }
  if (module == "ln_final") return placed("text_model.final_layer_norm", parameter);
  const bool is_block = remove_start(module, "transformer.resblocks.");
  const std::optional<int> layer = take_index(module);
  if (!is_block || !layer) return std::nullopt;
  const std::string scope = fmt::format("text_model.encoder.layers.{}.", *layer);
  if (module == "attn" && remove_start(parameter, "in_proj_")) {
    return placed(scope + "self_attn", parameter, Way::thirds);
  }
  return placed(renamed(scope, module, kOpenClipLayer), parameter);
}

}  // namespace

bool has_name_of(const std::map<std::string, TensorView>& tensors, std::string_view start) {
  return std::ranges::any_of(tensors,
                             [&](const auto& entry) { return entry.first.starts_with(start); });
}

const Part* part_of(std::string_view name) {
  const auto found =
      std::ranges::find_if(kParts, [&](const Part& each) { return name.starts_with(each.prefix); });
  return found == kParts.end() ? nullptr : &*found;
}

std::optional<Place> place_of(const Part& part, std::string_view name, const Layout& layout) {
  const auto [module, parameter] = split(name);
  if (part.form == Form::unet)
    return placed(original::unet_module(module, layout.per_level), parameter);
  if (part.form == Form::vae) return vae_place(name, layout);
  if (part.form == Form::clip) return clip_place(name);
  // SD 2.x takes what its layer 22 gives, without the projection.
  const bool is_unread =
      name.starts_with("transformer.resblocks.23.") || name.starts_with("text_projection");
  const bool is_sd2 = part.prefix == kSd2TextPrefix || part.prefix == kSd2SgmTextPrefix;
  if (is_sd2 && is_unread) return left_out();
  return open_clip_place(name);
}

std::optional<Place> control_net_place(std::string_view name, const Layout& layout) {
  const auto [module, parameter] = split(name);
  return placed(control_net_module(module, layout), parameter);
}

Layout layout_of(const std::map<std::string, TensorView>& tensors, std::string_view unet_prefix,
                 std::string_view vae_prefix) {
  Layout layout{original::kMostIndex + 2, 0};
  for (const auto& [full_name, tensor] : tensors) {
    std::string_view name = full_name;
    if (remove_start(name, unet_prefix) && remove_start(name, "input_blocks.")) {
      const int number = take_index(name).value_or(0);
      if (number > 0 && name.starts_with("0.op.")) {
        layout.per_level = std::min(layout.per_level, number);
      }
    } else if (remove_start(name, vae_prefix) && remove_start(name, "decoder.up.")) {
      layout.decoder_levels = std::max(layout.decoder_levels, take_index(name).value_or(0) + 1);
    }
  }
  return layout;
}

}  // namespace pcpp::single_file
