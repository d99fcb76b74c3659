// UniPC, a predictor of several steps' images with a corrector (arXiv 2302.04867, algorithms 5 and
// 6, for predicted images).
#ifndef PCPP_SCHEDULERS_UNIPC_H_
#define PCPP_SCHEDULERS_UNIPC_H_

#include <memory>

#include "io/config_reader.h"
#include "schedulers/scheduler.h"

namespace pcpp {

// Reads the keys that diffusers' UniPCMultistepScheduler knows. Throws CheckpointError, for orders
// beyond 3 and other predictors or partly disabled correctors too.
std::unique_ptr<Scheduler> read_unipc(ConfigReader& config);

}  // namespace pcpp

#endif  // PCPP_SCHEDULERS_UNIPC_H_
