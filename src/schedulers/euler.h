// Euler's method on the probability flow (arXiv 2206.00364, algorithm 2 without churn), and
// k-diffusion's ancestral one, which adds noise in every step.
#ifndef PCPP_SCHEDULERS_EULER_H_
#define PCPP_SCHEDULERS_EULER_H_

#include <memory>

#include "io/config_reader.h"
#include "schedulers/scheduler.h"

namespace pcpp {

// Reads the keys that diffusers' EulerDiscreteScheduler knows. Throws CheckpointError.
std::unique_ptr<Scheduler> read_euler(ConfigReader& config);

// The same of EulerAncestralDiscreteScheduler.
std::unique_ptr<Scheduler> read_euler_ancestral(ConfigReader& config);

}  // namespace pcpp

#endif  // PCPP_SCHEDULERS_EULER_H_
