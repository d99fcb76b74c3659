// What the programs' reports write alike.
#ifndef PCPP_EXAMPLES_JSON_H_
#define PCPP_EXAMPLES_JSON_H_

#include <nlohmann/json.hpp>

#include "command_line.h"
#include "pcpp/pcpp.h"

namespace pcpp::examples {

inline nlohmann::ordered_json to_json(const SiteBytes& bytes) {
  return {{"attention", bytes.attention},
          {"halo", bytes.halo},
          {"group_norm", bytes.group_norm},
          {"gather", bytes.gather}};
}

// The options that are for GPUs alone, as they hold; null on a CPU.
inline nlohmann::ordered_json gpu_json(const DeviceOptions& device) {
  using Json = nlohmann::ordered_json;
  const PipelineOptions loading = device.pipeline_options();
  const bool cuda = device.cuda;
  return {{"transport", cuda ? Json(word_for(kTransports, device.gpu_transport())) : Json()},
          {"cuda_graphs", cuda ? Json(loading.cuda_graphs) : Json()},
          {"attention", cuda ? Json(word_for(kAttentions, loading.attention)) : Json()}};
}

}  // namespace pcpp::examples

#endif  // PCPP_EXAMPLES_JSON_H_
