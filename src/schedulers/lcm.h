// Multistep sampling of latent consistency models (arXiv 2310.04378, algorithm 3): LCM and
// LCM-LoRA.
#ifndef PCPP_SCHEDULERS_LCM_H_
#define PCPP_SCHEDULERS_LCM_H_

#include <memory>

#include "io/config_reader.h"
#include "schedulers/scheduler.h"

namespace pcpp {

// Reads the keys that diffusers' LCMScheduler knows. Throws CheckpointError.
std::unique_ptr<Scheduler> read_lcm(ConfigReader& config);

}  // namespace pcpp

#endif  // PCPP_SCHEDULERS_LCM_H_
