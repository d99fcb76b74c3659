#include "models/control_net_config.h"

#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <iterator>
#include <optional>
#include <string_view>

#include "base/check.h"
#include "io/config_reader.h"

namespace pcpp {
namespace {

using nlohmann::json;

constexpr const char* kImageChannels = "conditioning_embedding_out_channels";
constexpr const char* kChannelOrder = "controlnet_conditioning_channel_order";
constexpr std::int64_t kMostResolutions = 8;
constexpr std::int64_t kMostChannels = 65536;
// Of single files.
constexpr std::int64_t kMostLevels = 16;
constexpr std::int64_t kMostLayers = 256;

// Of a way up that a U-Net's config would have in its place: nothing of it is built.
json way_up(const json& down_types) {
  json types = json::array();
  for (auto type = down_types.rbegin(); type != down_types.rend(); ++type) {
    types.push_back(*type == "DownBlock2D" ? "UpBlock2D" : "CrossAttnUpBlock2D");
  }
  return types;
}

using Tensors = std::map<std::string, TensorView>;

// The first axis of a weight, 0 where it is not there: a convolution's or a product's outputs.
std::int64_t outputs_of(const Tensors& weights, const std::string& module) {
  const auto found = weights.find(module + ".weight");
  return found == weights.end() || found->second.shape.empty() ? 0 : found->second.shape.front();
}

// The shape of the first weight whose name ends so; null where there is none.
const std::vector<std::int64_t>* shape_of(const Tensors& weights, std::string_view end) {
  const auto found =
      std::ranges::find_if(weights, [&](const auto& entry) { return entry.first.ends_with(end); });
  return found == weights.end() ? nullptr : &found->second.shape;
}

// How many of the numbered modules there are; beyond the most only that there are more.
std::int64_t count_of(const Tensors& weights, std::int64_t most,
                      const std::function<std::string(std::int64_t)>& module) {
  std::int64_t count = 0;
  while (count <= most && outputs_of(weights, module(count)) > 0) ++count;
  return count;
}

// Reads a ControlNet's config from its weights.
class Derivation {
 public:
  Derivation(const Tensors& weights, const std::string& source, const UNetConfig& unet)
      : weights_(weights), source_(source), unet_(unet) {}

  ControlNetConfig config() const {
    ControlNetConfig result{unet_, image_channels(), false};
    UNetConfig& own = result.encoder;
    own.guidance_width = 0;
    const auto first = weights_.find("conv_in.weight");
    own.in_channels = first != weights_.end() && first->second.shape.size() == 4
                          ? first->second.shape[1]
                          : unet_.out_channels;
    if (const auto* shape = shape_of(weights_, ".attn2.to_k.weight"); shape && shape->size() == 2) {
      own.text_width = shape->back();
    }
    if (const auto* shape = shape_of(weights_, ".proj_in.weight")) {
      own.linear_projection = shape->size() == 2;
    }
    own.added = added();
    own.levels = levels();
    own.middle_depths.emplace();
    if (has_transformer("mid_block.attentions.0")) {
      own.middle_depths->push_back(depth_of("mid_block.attentions.0"));
    }
    return result;
  }

 private:
  std::vector<std::int64_t> image_channels() const {
    const std::string scope = "controlnet_cond_embedding.";
    const std::int64_t halvings =
        count_of(weights_, static_cast<std::int64_t>(kMostResolutions),
                 [&](std::int64_t i) { return fmt::format("{}blocks.{}", scope, 2 * i + 1); });
    check_most("resolutions of its image", halvings + 1, kMostResolutions);
    std::vector<std::int64_t> channels = {outputs_of(weights_, scope + "conv_in")};
    for (std::int64_t i = 0; i < halvings; ++i) {
      channels.push_back(outputs_of(weights_, fmt::format("{}blocks.{}", scope, 2 * i + 1)));
    }
    return channels;
  }

  std::optional<AddedEmbedding> added() const {
    const auto found = weights_.find("add_embedding.linear_1.weight");
    if (found == weights_.end()) return std::nullopt;
    AddedEmbedding added = unet_.added.value_or(AddedEmbedding());
    added.input_width = found->second.shape.empty() ? 0 : found->second.shape.back();
    return added;
  }

  std::vector<UNetLevel> levels() const {
    const std::int64_t count =
        count_of(weights_, kMostLevels, [](std::int64_t i) { return resnet(i, 0); });
    check_most("levels", count, kMostLevels);
    std::vector<UNetLevel> levels;
    for (std::int64_t i = 0; i < count; ++i) {
      UNetLevel& level = levels.emplace_back();
      level.channels = outputs_of(weights_, resnet(i, 0));
      level.layers =
          count_of(weights_, kMostLayers, [i](std::int64_t layer) { return resnet(i, layer); });
      level.heads = unet_.levels[std::min(levels.size(), unet_.levels.size()) - 1].heads;
      const auto transformer = [i](std::int64_t layer) {
        return fmt::format("down_blocks.{}.attentions.{}", i, layer);
      };
      if (!has_transformer(transformer(0))) continue;
      for (std::int64_t layer = 0; layer < level.layers; ++layer) {
        level.down_depths.push_back(depth_of(transformer(layer)));
      }
    }
    return levels;
  }

  static std::string resnet(std::int64_t level, std::int64_t layer) {
    return fmt::format("down_blocks.{}.resnets.{}.conv1", level, layer);
  }

  bool has_transformer(const std::string& scope) const {
    return outputs_of(weights_, scope + ".proj_in") > 0;
  }

  std::int64_t depth_of(const std::string& scope) const {
    const std::int64_t depth = count_of(weights_, kMostLayers, [&](std::int64_t i) {
      return fmt::format("{}.transformer_blocks.{}.attn1.to_q", scope, i);
    });
    check_most("layers of a transformer", depth, kMostLayers);
    return depth;
  }

  void check_most(const char* what, std::int64_t count, std::int64_t most) const {
    check<CheckpointError>(count <= most,
                           "{}: the ControlNet has more than {} {}: it is damaged, or of another "
                           "kind",
                           source_, most, what);
  }

  const Tensors& weights_;
  const std::string& source_;
  const UNetConfig& unet_;
};

void check_level(const UNetLevel& own, const UNetLevel& unets, std::size_t level,
                 const std::string& source) {
  check<CheckpointError>(
      own.channels == unets.channels && own.layers == unets.layers,
      "{}: level {} of the ControlNet has {} layers of {} channels, and of the U-Net {} of {}: it "
      "is for another model",
      source, level, own.layers, own.channels, unets.layers, unets.channels);
}

// A level may attend where the U-Net's does not.
void check_heads(const UNetConfig& control, const std::string& source) {
  for (std::size_t i = 0; i < control.levels.size(); ++i) {
    const UNetLevel& level = control.levels[i];
    check<CheckpointError>(
        !control.attends_at(i) || (level.heads > 0 && level.channels % level.heads == 0),
        "{}: a level of {} channels attends with {} heads, which do not divide "
        "them: it is for another model",
        source, level.channels, level.heads);
  }
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
  for (const char* key :
       {"up_block_types", "time_cond_proj_dim", "reverse_transformer_layers_per_block"}) {
    own.require_equal(key, nullptr);
  }
  ControlNetConfig result;
  result.reads_bgr = own.one_of(kChannelOrder, {"rgb", "bgr"}, "rgb") == "bgr";
  result.image_channels = own.integers(kImageChannels, {16, 32, 96, 256});
  const bool fits = !result.image_channels.empty() &&
                    std::ssize(result.image_channels) <= kMostResolutions &&
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
  object["reverse_transformer_layers_per_block"] = 1;
  result.encoder = read_unet_config({std::move(object), source});
  if (!result.encoder.middle_depths) own.refuse("mid_block_type", "a ControlNet has one");
  return result;
}

ControlNetConfig control_net_config_of(const Tensors& weights, const std::string& source,
                                       const UNetConfig& unet) {
  return Derivation(weights, source, unet).config();
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
  check_heads(own, source);
}

}  // namespace pcpp
