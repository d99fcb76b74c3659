#include "models/ip_adapter.h"

#include <fmt/format.h>

#include <cstddef>
#include <set>

#include "base/check.h"
#include "base/excerpt.h"
#include "io/ip_adapter_file.h"

namespace pcpp {
namespace {

// Of one block, whose transformers have `depths` layers.
void append_places(const std::string& block, const std::vector<std::int64_t>& depths,
                   std::int64_t width, std::vector<CrossAttentionPlace>& places) {
  for (std::size_t i = 0; i < depths.size(); ++i) {
    for (std::int64_t layer = 0; layer < depths[i]; ++layer) {
      places.push_back(
          {fmt::format("{}.attentions.{}.transformer_blocks.{}.attn2", block, i, layer), width});
    }
  }
}

}  // namespace

std::vector<CrossAttentionPlace> cross_attentions_of(const UNetConfig& unet) {
  std::vector<CrossAttentionPlace> places;
  const std::size_t levels = unet.levels.size();
  for (std::size_t i = 0; i < levels; ++i) {
    const UNetLevel& level = unet.levels[i];
    append_places(fmt::format("down_blocks.{}", i), level.down_depths, level.channels, places);
  }
  for (std::size_t i = 0; i < levels; ++i) {
    const UNetLevel& level = unet.levels[levels - 1 - i];
    append_places(fmt::format("up_blocks.{}", i), level.up_depths, level.channels, places);
  }
  if (unet.middle_depths) {
    append_places("mid_block", *unet.middle_depths, unet.levels.back().channels, places);
  }
  return places;
}

std::map<std::string, TensorView> adapted_attention(
    const std::map<std::string, TensorView>& tensors, const UNetConfig& unet,
    const std::string& source) {
  constexpr const char* kRemedy =
      "it is for another model: take one that was made for this one's family";
  const std::vector<CrossAttentionPlace> places = cross_attentions_of(unet);
  std::map<std::string, TensorView> renamed;
  std::set<std::string> known;
  for (std::size_t i = 0; i < places.size(); ++i) {
    const std::vector<std::int64_t> shape = {places[i].width, unet.text_width};
    for (const char* part : {"to_k_ip.weight", "to_v_ip.weight"}) {
      const std::string name = fmt::format("{}.{}.{}", kAdaptedAttention, 2 * i + 1, part);
      const auto found = tensors.find(name);
      check<CheckpointError>(found != tensors.end(),
                             "{}: the IP-Adapter lacks the tensor {} of shape {} for one of the "
                             "U-Net's {} cross-attentions: {}",
                             source, name, to_string(shape), places.size(), kRemedy);
      check<CheckpointError>(found->second.shape == shape,
                             "{}: the IP-Adapter's tensor {} has shape {}, where the U-Net needs "
                             "{}: {}",
                             source, name, to_string(found->second.shape), to_string(shape),
                             kRemedy);
      known.insert(name);
      renamed.emplace(fmt::format("{}.{}", places[i].scope, part), found->second);
    }
  }
  for (const auto& [name, tensor] : tensors) {
    check<CheckpointError>(known.contains(name),
                           "{}: the IP-Adapter's tensor {} belongs to none of the U-Net's {} "
                           "cross-attentions: {}",
                           source, excerpt(name), places.size(), kRemedy);
  }
  return renamed;
}

}  // namespace pcpp
