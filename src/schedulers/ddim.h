// DDIM without noise (arXiv 2010.02502, equation 12 with sigma 0).
#ifndef PCPP_SCHEDULERS_DDIM_H_
#define PCPP_SCHEDULERS_DDIM_H_

#include <memory>

#include "io/config_reader.h"
#include "schedulers/scheduler.h"

namespace pcpp {

// Reads the keys that diffusers' DDIMScheduler knows. Throws CheckpointError.
std::unique_ptr<Scheduler> read_ddim(ConfigReader& config);

}  // namespace pcpp

#endif  // PCPP_SCHEDULERS_DDIM_H_
