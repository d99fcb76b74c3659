#include "pcpp/error.h"

namespace pcpp {

// Defined here so that each type has one home for its type information, which catch blocks in
// other libraries compare.
Error::~Error() = default;
ConfigError::~ConfigError() = default;
CheckpointError::~CheckpointError() = default;
OutputError::~OutputError() = default;
TransportError::~TransportError() = default;
DeviceError::~DeviceError() = default;
Cancelled::~Cancelled() = default;

}  // namespace pcpp
