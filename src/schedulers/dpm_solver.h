// DPM-Solver++ with two steps' predictions, "DPM++ 2M" (arXiv 2211.01095, algorithm 2).
#ifndef PCPP_SCHEDULERS_DPM_SOLVER_H_
#define PCPP_SCHEDULERS_DPM_SOLVER_H_

#include <memory>

#include "io/config_reader.h"
#include "schedulers/scheduler.h"

namespace pcpp {

// Reads the keys that diffusers' DPMSolverMultistepScheduler knows. Throws CheckpointError, for
// algorithms that draw noise (sde-...) and other orders than 2 too.
std::unique_ptr<Scheduler> read_dpm_solver(ConfigReader& config);

}  // namespace pcpp

#endif  // PCPP_SCHEDULERS_DPM_SOLVER_H_
