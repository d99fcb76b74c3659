// PNDM without its Runge-Kutta steps, "PLMS": a linear multistep of four predictions (arXiv
// 2202.09778, equations 9 and 12), which Stable Diffusion 1.x was published with.
#ifndef PCPP_SCHEDULERS_PNDM_H_
#define PCPP_SCHEDULERS_PNDM_H_

#include <memory>

#include "io/config_reader.h"
#include "schedulers/scheduler.h"

namespace pcpp {

// The first way that is made is made twice, the second time by the mean of the predictions at its
// two ends. (Where the first steps are left out diffusers makes the second evaluation a correction
// all the same, without one more timestep, and so ends a step early.)
//
// Reads the keys that diffusers' PNDMScheduler knows. Throws CheckpointError, where skip_prk_steps
// is not true too.
std::unique_ptr<Scheduler> read_pndm(ConfigReader& config);

}  // namespace pcpp

#endif  // PCPP_SCHEDULERS_PNDM_H_
