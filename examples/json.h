// What the programs' reports write alike.
#ifndef PCPP_EXAMPLES_JSON_H_
#define PCPP_EXAMPLES_JSON_H_

#include <nlohmann/json.hpp>

#include "pcpp/trace.h"

namespace pcpp::examples {

inline nlohmann::ordered_json to_json(const SiteBytes& bytes) {
  return {{"attention", bytes.attention},
          {"halo", bytes.halo},
          {"group_norm", bytes.group_norm},
          {"gather", bytes.gather}};
}

}  // namespace pcpp::examples

#endif  // PCPP_EXAMPLES_JSON_H_
