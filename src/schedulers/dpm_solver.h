// DPM-Solver++ with two steps' predictions, "DPM++ 2M" (arXiv 2211.01095, algorithm 2), and the
// same for the stochastic differential equation, "DPM++ 2M SDE" (k-diffusion's
// sample_dpmpp_2m_sde).
#ifndef PCPP_SCHEDULERS_DPM_SOLVER_H_
#define PCPP_SCHEDULERS_DPM_SOLVER_H_

#include <memory>
#include <string_view>

#include "io/config_reader.h"
#include "schedulers/scheduler.h"

namespace pcpp {

// The algorithm_types without noise and with it.
inline constexpr std::string_view kDpmSolver = "dpmsolver++";
inline constexpr std::string_view kNoisyDpmSolver = "sde-dpmsolver++";

// Reads the keys that diffusers' DPMSolverMultistepScheduler knows. Throws CheckpointError, for
// algorithms that predict noise (dpmsolver, sde-dpmsolver) and other orders than 2 too.
std::unique_ptr<Scheduler> read_dpm_solver(ConfigReader& config);

}  // namespace pcpp

#endif  // PCPP_SCHEDULERS_DPM_SOLVER_H_
