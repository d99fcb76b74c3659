#include "models/control_net_config.h"

#include <fmt/format.h>

#include <algorithm>
#include <string_view>

#include "base/check.h"
#include "io/config_reader.h"

namespace pcpp {
namespace {

using nlohmann::json;

constexpr const char* kImageChannels = "conditioning_embedding_out_channels";
constexpr const char* kChannelOrder = "controlnet_conditioning_channel_order";
constexpr std::size_t kMostResolutions = 8;
constexpr std::int64_t kMostChannels = 65536;

// Of a way up that a U-Net's config would have in its place: nothing of it is built.
json way_up(const json& down_types) {
  json types = json::array();
  for (const json& type : down_types) {
    types.insert(types.begin(), type == "DownBlock2D" ? "UpBlock2D" : "CrossAttnUpBlock2D");
  }
  return types;
}

using Tensors = std::map<std::string, TensorView>;

// Layers of the transformer `scope`, as far as its names tell.
std::int64_t depth_of(const Tensors& weights, const std::string& scope) {
  std::int64_t depth = 0;
  while (
      weights.contains(fmt::format("{}.transformer_blocks.{}.attn1.to_q.weight", scope, depth))) {
    ++depth;
  }
  return depth;
}

// Those of a convolution's results.
std::int64_t channels_of(const Tensors& weights, const std::string& scope) {
  const auto found = weights.find(scope + ".weight");
  return found == weights.end() || found->second.shape.empty() ? 0 : found->second.shape.front();
}

std::vector<std::int64_t> image_channels_of(const Tensors& weights, const std::string& source) {
  const std::string scope = "controlnet_cond_embedding.";
  std::vector<std::int64_t> channels = {channels_of(weights, scope + "conv_in")};
  while (const std::int64_t next =
             channels_of(weights, fmt::format("{}blocks.{}", scope, 2 * channels.size() - 1))) {
    channels.push_back(next);
    check<CheckpointError>(channels.size() <= kMostResolutions,
                           "{}: the ControlNet makes more than {} resolutions of its image: it is "
                           "damaged, or of another kind",
                           source, kMostResolutions);
  }
  return channels;
}

void check_level(const UNetLevel& own, const UNetLevel& unets, std::size_t level,
                 const std::string& source) {
  check<CheckpointError>(
      own.channels == unets.channels && own.layers == unets.layers,
      "{}: level {} of the ControlNet has {} layers of {} channels, and of the U-Net {} of {}: it "
      "is for another model",
      source, level, own.layers, own.channels, unets.layers, unets.channels);
}

}  // namespace

ControlNetConfig read_control_net_config(json object, const std::string& source) {
  ConfigReader own(object, source);
  if (own.text("_class_name", "ControlNetModel") != "ControlNetModel") {
    own.refuse("_class_name", "only ControlNetModel is supported");
  }
  own.require_equal("conditioning_channels", 3, 3);
  own.require_equal("global_pool_conditions", false, false);
  // What the U-Net's config would be read for, and a ControlNet has not.
  for (const char* key : {"up_block_types", "time_cond_proj_dim"}) own.require_equal(key, nullptr);
  ControlNetConfig result;
  result.reads_bgr = own.one_of(kChannelOrder, {"rgb", "bgr"}, "rgb") == "bgr";
  result.image_channels = own.integers(kImageChannels, {16, 32, 96, 256});
  const bool fits = !result.image_channels.empty() &&
                    result.image_channels.size() <= kMostResolutions &&
                    std::ranges::all_of(result.image_channels, [](std::int64_t channels) {
                      return channels > 0 && channels <= kMostChannels;
                    });
  if (!fits) {
    own.refuse(kImageChannels, fmt::format("it must have from 1 to {} entries, each from 1 to {}",
                                           kMostResolutions, kMostChannels));
  }
  for (const char* key :
       {"conditioning_channels", "global_pool_conditions", kChannelOrder, kImageChannels}) {
    object.erase(key);
  }
  const auto down_types = object.find("down_block_types");
  if (down_types != object.end() && down_types->is_array()) {
    object["up_block_types"] = way_up(*down_types);
  }
  result.encoder = read_unet_config({std::move(object), source});
  if (!result.encoder.middle_depth) own.refuse("mid_block_type", "a ControlNet has one");
  return result;
}

ControlNetConfig control_net_config_of(const Tensors& weights, const std::string& source,
                                       const UNetConfig& unet) {
  ControlNetConfig result{unet, image_channels_of(weights, source), false};
  UNetConfig& own = result.encoder;
  own.in_channels = unet.out_channels;
  own.guidance_width = 0;
  if (!weights.contains("add_embedding.linear_1.weight")) own.added.reset();
  for (std::size_t level = 0; level < own.levels.size(); ++level) {
    std::vector<std::int64_t>& depths = own.levels[level].down_depths;
    depths.clear();
    for (std::int64_t layer = 0; layer < own.levels[level].layers; ++layer) {
      depths.push_back(
          depth_of(weights, fmt::format("down_blocks.{}.attentions.{}", level, layer)));
    }
    if (std::ranges::count(depths, 0) == std::ssize(depths)) depths.clear();
  }
  own.middle_depth = depth_of(weights, "mid_block.attentions.0");
  return result;
}

void check_fits(const ControlNetConfig& control, const UNetConfig& unet,
                const std::string& source) {
  const UNetConfig& own = control.encoder;
  const auto check_same = [&](const char* what, std::int64_t mine, std::int64_t unets) {
    check<CheckpointError>(mine == unets,
                           "{}: the ControlNet's {} is {}, the U-Net's {}: it is for another model",
                           source, what, mine, unets);
  };
  // One for inpainting reads a mask as well, which its ControlNets do not.
  check_same("in_channels", own.in_channels, unet.out_channels);
  check_same("number of levels", std::ssize(own.levels), std::ssize(unet.levels));
  check_same("cross_attention_dim", own.text_width, unet.text_width);
  if (own.added) check_same("width of pooled text", own.pooled_width(), unet.pooled_width());
  for (std::size_t level = 0; level < own.levels.size(); ++level) {
    check_level(own.levels[level], unet.levels[level], level, source);
  }
}

}  // namespace pcpp
