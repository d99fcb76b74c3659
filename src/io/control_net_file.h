// ControlNets in one file: with diffusers' names, or with those that they were first published
// with.
#ifndef PCPP_IO_CONTROL_NET_FILE_H_
#define PCPP_IO_CONTROL_NET_FILE_H_

#include <map>
#include <string>

#include "io/safetensors.h"

namespace pcpp {

// Its tensors by diffusers' names. `tensors` are a checked file's; `source` names it in errors.
// What else a file with control_model. in its names holds is left out. Throws CheckpointError where
// there is no ControlNet in it, or a tensor with a name that none has.
std::map<std::string, TensorView> read_control_net_file(
    const std::map<std::string, TensorView>& tensors, const std::string& source);

}  // namespace pcpp

#endif  // PCPP_IO_CONTROL_NET_FILE_H_
