// Which libpcpp it is.
#ifndef PCPP_VERSION_H_
#define PCPP_VERSION_H_

#include <string_view>

#include "pcpp/export.h"

namespace pcpp {

// "MAJOR.MINOR.PATCH" of the library that the program has loaded.
PCPP_EXPORT std::string_view version();

}  // namespace pcpp

#endif  // PCPP_VERSION_H_
