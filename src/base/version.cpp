#include "pcpp/version.h"

namespace pcpp {

std::string_view version() { return PCPP_VERSION; }

}  // namespace pcpp
