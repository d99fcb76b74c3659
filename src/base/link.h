#ifndef PCPP_BASE_LINK_H_
#define PCPP_BASE_LINK_H_

#include "pcpp/world.h"

namespace pcpp {

// Throws ConfigError unless the link has a finite bandwidth above 0 and a latency of at least 0.
void check_link(const Link& link);

}  // namespace pcpp

#endif  // PCPP_BASE_LINK_H_
