#include "models/unet_config.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <numeric>
#include <optional>
#include <string>
#include <string_view>

#include "base/excerpt.h"
#include "base/log.h"

namespace pcpp {
namespace {

// Far over any model's, so that a file that is none of one is refused before it costs memory.
constexpr std::int64_t kMostLayers = 256;        // of a block or of a transformer
constexpr std::int64_t kMostLayersInAll = 1024;  // SDXL has 87
constexpr std::int64_t kMostChannels = std::int64_t{1} << 20;
constexpr const char* kDepths = "transformer_layers_per_block";

std::int64_t width(ConfigReader& config, std::string_view key,
                   std::optional<std::int64_t> absent = std::nullopt) {
  const std::int64_t value = absent ? config.integer(key, *absent) : config.integer(key);
  if (value < 1 || value > kMostChannels) {
    config.refuse(key, fmt::format("it must be from 1 to {}", kMostChannels));
  }
  return value;
}

void refuse_unsupported(ConfigReader& config) {
  const nlohmann::json null;
  config.require_equal("center_input_sample", false, false);
  config.require_equal("downsample_padding", 1, 1);
  config.require_equal("mid_block_scale_factor", 1, 1);
  config.require_equal("act_fn", "silu", "silu");
  config.require_equal("encoder_hid_dim", null);
  config.require_equal("encoder_hid_dim_type", null);
  config.require_equal("num_attention_heads", null);
  config.require_equal("dual_cross_attention", false, false);
  config.require_equal("class_embed_type", null);
  config.require_equal("num_class_embeds", null);
  config.require_equal("resnet_time_scale_shift", "default", "default");
  config.require_equal("resnet_skip_time_act", false, false);
  config.require_equal("resnet_out_scale_factor", 1, 1);
  config.require_equal("time_embedding_type", "positional", "positional");
  config.require_equal("time_embedding_dim", null);
  config.require_equal("time_embedding_act_fn", null);
  config.require_equal("timestep_post_act", null);
  config.require_equal("conv_in_kernel", 3, 3);
  config.require_equal("conv_out_kernel", 3, 3);
  config.require_equal("attention_type", "default", "default");
  config.require_equal("class_embeddings_concat", false, false);
  config.require_equal("mid_block_only_cross_attention", false, false);
  config.require_equal("cross_attention_norm", null);
  // Heads of addition_embed_type "text", which is refused.
  config.ignore({"dropout", "upcast_attention", "addition_embed_type_num_heads"});
  // What diffusers' EMAModel.save_pretrained adds.
  config.ignore({"decay", "inv_gamma", "min_decay", "optimization_step", "power",
                 "update_after_step", "use_ema_warmup"});
}

// Whether each block of `key` has transformers.
std::vector<bool> attention_of(ConfigReader& config, std::string_view key,
                               const std::vector<std::string>& absent, std::string_view plain,
                               std::string_view attending) {
  std::vector<bool> attention;
  for (const std::string& type : config.texts(key, absent)) {
    if (type != plain && type != attending) {
      config.refuse(key,
                    std::string("only ").append(plain).append(" and ").append(attending).append(
                        " are supported"));
    }
    attention.push_back(type == attending);
  }
  return attention;
}

// The layers of the transformers of each block: one number for all of a model, for all of a block,
// or for each of the `counts` of them.
using Depths = std::vector<std::vector<std::int64_t>>;
Depths depths_of(const ConfigReader& config, std::string_view key, const nlohmann::json& value,
                 const std::vector<std::int64_t>& counts) {
  const auto depth = [&](const nlohmann::json& number) {
    if (!number.is_number_integer() || number < 0 || number > kMostLayers) {
      config.refuse(key, fmt::format("each number must be from 0 to {}", kMostLayers));
    }
    return number.get<std::int64_t>();
  };
  if (value.is_array() && value.size() != counts.size()) {
    config.refuse(key, "it must have an entry for each block");
  }
  Depths depths;
  for (std::size_t block = 0; block < counts.size(); ++block) {
    const auto count = static_cast<std::size_t>(counts[block]);
    const nlohmann::json& entry = value.is_array() ? value[block] : value;
    if (!entry.is_array()) {
      depths.emplace_back(count, depth(entry));
      continue;
    }
    if (entry.size() != count) {
      config.refuse(key, "a list within it must have an entry for each of the block's ResNets");
    }
    std::vector<std::int64_t>& listed = depths.emplace_back();
    for (const nlohmann::json& number : entry) listed.push_back(depth(number));
  }
  return depths;
}

// Those on the way up as `layers` on the way down say it, or as a list of their own.
Depths up_depths_of(ConfigReader& config, const nlohmann::json& down,
                    const std::vector<std::int64_t>& layers) {
  constexpr const char* kReversed = "reverse_transformer_layers_per_block";
  std::vector<std::int64_t> counts(layers.rbegin(), layers.rend());
  for (std::int64_t& count : counts) ++count;
  nlohmann::json value = config.value(kReversed);
  const char* key = kReversed;
  if (value.is_null()) {
    key = kDepths;
    value = down;
    if (value.is_array()) std::reverse(value.begin(), value.end());
  }
  Depths depths = depths_of(config, key, value, counts);
  std::reverse(depths.begin(), depths.end());
  return depths;
}

void read_levels(ConfigReader& config, UNetConfig& result) {
  const std::vector<bool> down = attention_of(
      config, "down_block_types",
      {"CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"},
      "DownBlock2D", "CrossAttnDownBlock2D");
  const std::vector<bool> up =
      attention_of(config, "up_block_types",
                   {"UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"},
                   "UpBlock2D", "CrossAttnUpBlock2D");
  const std::vector<std::int64_t> channels =
      config.integers("block_out_channels", {320, 640, 1280, 1280});
  const std::size_t count = channels.size();
  if (count == 0 || count > 16) {
    config.refuse("block_out_channels", "it must have between 1 and 16 entries");
  }
  if (down.size() != count || up.size() != count) {
    config.refuse("block_out_channels",
                  "it must have as many entries as down_block_types and up_block_types");
  }
  const auto layers = config.integer_or_list("layers_per_block", count, 2);
  const auto heads = config.integer_or_list("attention_head_dim", count, 8);
  for (const std::int64_t layer_count : layers) {
    if (layer_count < 1 || layer_count > kMostLayers) {
      config.refuse("layers_per_block", fmt::format("it must be from 1 to {}", kMostLayers));
    }
  }
  nlohmann::json depths = config.value(kDepths);
  if (depths.is_null()) depths = 1;
  const Depths down_depths = depths_of(config, kDepths, depths, layers);
  const Depths up_depths = up_depths_of(config, depths, layers);
  for (const bool only_cross : config.boolean_or_list("only_cross_attention", count, false)) {
    if (only_cross) config.refuse("only_cross_attention", "only false is supported");
  }
  for (std::size_t i = 0; i < count; ++i) {
    result.levels.push_back({channels[i], layers[i], heads[i],
                             down[i] ? down_depths[i] : std::vector<std::int64_t>(),
                             up[count - 1 - i] ? up_depths[i] : std::vector<std::int64_t>()});
  }
  if (config.is_null("mid_block_type")) return;
  const std::string middle = config.one_of(
      "mid_block_type", {"UNetMidBlock2DCrossAttn", "UNetMidBlock2D"}, "UNetMidBlock2DCrossAttn");
  result.middle_depths.emplace();
  if (middle != "UNetMidBlock2D") result.middle_depths->push_back(down_depths.back().front());
}

void check_levels(const ConfigReader& config, const UNetConfig& unet) {
  for (std::size_t i = 0; i < unet.levels.size(); ++i) {
    const UNetLevel& level = unet.levels[i];
    if (level.channels < 1 || level.channels % unet.norm_groups != 0) {
      config.refuse("block_out_channels", "each entry must be a multiple of norm_num_groups");
    }
    if (level.channels > kMostChannels) {
      config.refuse("block_out_channels", fmt::format("each entry is at most {}", kMostChannels));
    }
    if (unet.attends_at(i) && (level.heads < 1 || level.channels % level.heads != 0)) {
      config.refuse("attention_head_dim",
                    "as the number of heads it must divide the level's block_out_channels");
    }
  }
}

// ResNet blocks and layers of transformers.
std::int64_t layers_of(const UNetConfig& unet) {
  std::int64_t layers = 0;
  if (unet.middle_depths) {
    layers = std::accumulate(unet.middle_depths->begin(), unet.middle_depths->end(),
                             unet.middle_depths->empty() ? 1 : 2);
  }
  for (const UNetLevel& level : unet.levels) {
    layers += 2 * level.layers + 1;
    for (const auto* depths : {&level.down_depths, &level.up_depths}) {
      layers = std::accumulate(depths->begin(), depths->end(), layers);
    }
  }
  return layers;
}

void check_layers(const ConfigReader& config, const UNetConfig& unet) {
  const std::int64_t layers = layers_of(unet);
  if (layers > kMostLayersInAll) {
    config.refuse("layers_per_block",
                  fmt::format("with {} it makes {} ResNet blocks and transformer layers; at most "
                              "{} are supported",
                              kDepths, layers, kMostLayersInAll));
  }
}

void read_sample_size(ConfigReader& config, UNetConfig& result) {
  const nlohmann::json size = config.value("sample_size");
  if (size.is_null()) return;
  const bool pair = size.is_array() && size.size() == 2;
  const nlohmann::json& rows = pair ? size[0] : size;
  const nlohmann::json& columns = pair ? size[1] : size;
  if (!rows.is_number_integer() || !columns.is_number_integer() || rows < 1 || columns < 1) {
    config.refuse("sample_size", "it must be a positive integer or a list of two");
  }
  result.sample_rows = rows.get<std::int64_t>();
  result.sample_columns = columns.get<std::int64_t>();
}

// As diffusers' Stable Diffusion pipeline does: folders written before its 0.9 carry the size that
// a fine-tuning began with.
void mend_outdated_size(ConfigReader& config, UNetConfig& result) {
  constexpr std::int64_t kSide = 64;
  int major = 0;
  int minor = 0;
  const std::string version = config.text("_diffusers_version", "");
  const bool square = result.sample_rows == result.sample_columns;
  if (result.added || !square || result.sample_rows == 0 || result.sample_rows >= kSide ||
      std::sscanf(version.c_str(), "%d.%d", &major, &minor) != 2 || major > 0 || minor >= 9) {
    return;
  }
  log().warn("{}: sample_size {} of diffusers {} is taken for {}", config.source(),
             result.sample_rows, excerpt(version), kSide);
  result.sample_rows = result.sample_columns = kSide;
}

void read_added_embedding(ConfigReader& config, UNetConfig& result) {
  const std::optional<std::string> type = config.optional_text("addition_embed_type");
  if (!type) {
    config.ignore({"addition_time_embed_dim", "projection_class_embeddings_input_dim"});
    return;
  }
  if (*type != "text_time") {
    config.refuse("addition_embed_type", "only null and \"text_time\" are supported");
  }
  AddedEmbedding added;
  added.time_width = width(config, "addition_time_embed_dim");
  added.input_width = width(config, "projection_class_embeddings_input_dim");
  if (added.time_width % 2 != 0) config.refuse("addition_time_embed_dim", "it must be even");
  if (added.input_width / 6 < added.time_width || added.input_width <= 6 * added.time_width) {
    config.refuse("projection_class_embeddings_input_dim",
                  "it must have room for the pooled text and the six time ids");
  }
  result.added = added;
}

void read_guidance_width(ConfigReader& config, UNetConfig& result) {
  if (config.is_null("time_cond_proj_dim") || !config.has("time_cond_proj_dim")) return;
  result.guidance_width = width(config, "time_cond_proj_dim");
  // Half of them are sines, of frequencies that are spaced between the first and the last.
  if (result.guidance_width % 2 != 0 || result.guidance_width < 4) {
    config.refuse("time_cond_proj_dim", "it must be even and at least 4");
  }
}

}  // namespace

bool UNetConfig::attends_at(std::size_t level) const {
  const bool middle = level + 1 == levels.size() && middle_depths && !middle_depths->empty();
  return middle || !levels.at(level).down_depths.empty() || !levels.at(level).up_depths.empty();
}

UNetConfig read_unet_config(ConfigReader config) {
  refuse_unsupported(config);
  UNetConfig result;
  result.in_channels = width(config, "in_channels", 4);
  result.out_channels = width(config, "out_channels", 4);
  result.norm_groups = width(config, "norm_num_groups", 32);
  result.norm_epsilon = config.number("norm_eps", 1e-5);
  result.text_width = width(config, "cross_attention_dim", 1280);
  result.linear_projection = config.boolean("use_linear_projection", false);
  result.flip_sin_to_cos = config.boolean("flip_sin_to_cos", true);
  result.frequency_shift = config.number("freq_shift", 0);
  if (!(result.norm_epsilon > 0)) config.refuse("norm_eps", "it must be positive");
  read_sample_size(config, result);
  read_levels(config, result);
  check_levels(config, result);
  check_layers(config, result);
  read_added_embedding(config, result);
  read_guidance_width(config, result);
  mend_outdated_size(config, result);
  const std::int64_t half_width = result.levels.front().channels / 2;
  if (result.levels.front().channels % 2 != 0 ||
      !(result.frequency_shift < static_cast<double>(half_width))) {
    config.refuse("block_out_channels",
                  "the first entry, the width of the time sinusoid, must be even and its half "
                  "greater than freq_shift");
  }
  config.finish();
  return result;
}

}  // namespace pcpp
