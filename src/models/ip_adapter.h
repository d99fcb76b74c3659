// Where an IP-Adapter's keys and values belong in a U-Net.
#ifndef PCPP_MODELS_IP_ADAPTER_H_
#define PCPP_MODELS_IP_ADAPTER_H_

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "io/safetensors.h"
#include "models/unet_config.h"

namespace pcpp {

struct CrossAttentionPlace {
  std::string scope;       // of its weights
  std::int64_t width = 0;  // of its queries
};

// In the order of diffusers' attention processors, by which adapters number them: the way down, the
// way up, the middle.
std::vector<CrossAttentionPlace> cross_attentions_of(const UNetConfig& unet);

// The tensors ip_adapter.N.to_k_ip.weight and to_v_ip.weight, of which N is 1, 3, 5, ... (between
// them diffusers counts self-attentions), by the scopes of these. Throws CheckpointError, naming
// `source`, the tensor, the shapes and the remedy, where they are for another U-Net.
std::map<std::string, TensorView> adapted_attention(
    const std::map<std::string, TensorView>& tensors, const UNetConfig& unet,
    const std::string& source);

}  // namespace pcpp

#endif  // PCPP_MODELS_IP_ADAPTER_H_
