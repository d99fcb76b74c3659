#include "models/vae_encoder_names.h"

#include <fmt/format.h>

namespace pcpp {
namespace {

void add_resnet(std::vector<std::string>& layers, const std::string& scope) {
  for (const char* part : {"norm1", "conv1", "norm2", "conv2", "conv_shortcut"}) {
    layers.push_back(fmt::format("{}.{}", scope, part));
  }
}

}  // namespace

std::vector<std::string> vae_encoder_names(std::size_t blocks, std::int64_t layers) {
  std::vector<std::string> parts{"quant_conv", "encoder.conv_in", "encoder.conv_norm_out",
                                 "encoder.conv_out"};
  for (std::size_t i = 0; i < blocks; ++i) {
    const std::string block = fmt::format("encoder.down_blocks.{}", i);
    for (std::int64_t j = 0; j < layers; ++j)
      add_resnet(parts, fmt::format("{}.resnets.{}", block, j));
    parts.push_back(block + ".downsamplers.0.conv");
  }
  add_resnet(parts, "encoder.mid_block.resnets.0");
  add_resnet(parts, "encoder.mid_block.resnets.1");
  for (const char* part :
       {"group_norm", "to_q", "to_k", "to_v", "to_out.0", "query", "key", "value", "proj_attn"}) {
    parts.push_back(fmt::format("encoder.mid_block.attentions.0.{}", part));
  }
  std::vector<std::string> names;
  for (const std::string& part : parts) {
    names.push_back(part + ".weight");
    names.push_back(part + ".bias");
  }
  return names;
}

}  // namespace pcpp
