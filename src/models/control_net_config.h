// The options of a ControlNetModel, as far as those for SD 1.x, SD 2.x and SDXL use them.
#ifndef PCPP_MODELS_CONTROL_NET_CONFIG_H_
#define PCPP_MODELS_CONTROL_NET_CONFIG_H_

#include <cstdint>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "io/safetensors.h"
#include "models/unet_config.h"

namespace pcpp {

struct ControlNetConfig {
  bool operator==(const ControlNetConfig&) const = default;

  // Pixels of a control image for a row or column of the latents.
  std::int64_t scale() const { return std::int64_t{1} << (image_channels.size() - 1); }

  UNetConfig encoder;  // of which the way up is not looked at
  // Of its image at each resolution, the pixels' own first (conditioning_embedding_out_channels).
  std::vector<std::int64_t> image_channels;
  bool reads_bgr = false;  // instead of red, green and blue
};

// Throws CheckpointError naming the option that is not supported or does not fit the others.
// `object` is what the file `source` holds.
ControlNetConfig read_control_net_config(nlohmann::json object, const std::string& source);

// Of a ControlNet without a config, by the names and shapes of its `weights`: for all else it is as
// the U-Net, whose way down it began as. Not all of them are judged. Throws CheckpointError, naming
// `source`, where there is more of something than is supported.
ControlNetConfig control_net_config_of(const std::map<std::string, TensorView>& weights,
                                       const std::string& source, const UNetConfig& unet);

// A U-Net and the ControlNets that steer it.
struct NetworkConfig {
  NetworkConfig(UNetConfig unet_config,  // NOLINT(google-explicit-constructor): one alone
                std::vector<ControlNetConfig> control_configs = {})
      : unet(std::move(unet_config)), controls(std::move(control_configs)) {}
  bool operator==(const NetworkConfig&) const = default;

  UNetConfig unet;
  std::vector<ControlNetConfig> controls;
};

// Throws CheckpointError, naming `source`, for a ControlNet that is for another U-Net.
void check_fits(const ControlNetConfig& control, const UNetConfig& unet, const std::string& source);

}  // namespace pcpp

#endif  // PCPP_MODELS_CONTROL_NET_CONFIG_H_
