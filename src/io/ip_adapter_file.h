// IP-Adapters (arXiv 2308.06721) in the files that they were published in.
#ifndef PCPP_IO_IP_ADAPTER_FILE_H_
#define PCPP_IO_IP_ADAPTER_FILE_H_

#include <map>
#include <string>
#include <string_view>

#include "io/safetensors.h"

namespace pcpp {

inline constexpr std::string_view kImageProjection = "image_proj";
inline constexpr std::string_view kAdaptedAttention = "ip_adapter";

// A file's tensors under their own names, which begin with the scopes above.
struct IpAdapterTensors {
  std::map<std::string, TensorView> projection;  // what makes tokens of what an image encoder sees
  std::map<std::string, TensorView> attention;   // keys and values of each cross-attention
};

// `tensors` are a checked file's; `source` names it in errors. Throws CheckpointError where there
// is no IP-Adapter in it or one of another kind, which is named, or a tensor that none has.
IpAdapterTensors read_ip_adapter_file(const std::map<std::string, TensorView>& tensors,
                                      const std::string& source);

}  // namespace pcpp

#endif  // PCPP_IO_IP_ADAPTER_FILE_H_
