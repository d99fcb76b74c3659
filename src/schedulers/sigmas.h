// Noise levels as k-diffusion counts them, sigma = noise / signal (arXiv 2206.00364), which Euler
// and DPM-Solver++ step along. The arithmetic is diffusers', operation for operation.
#ifndef PCPP_SCHEDULERS_SIGMAS_H_
#define PCPP_SCHEDULERS_SIGMAS_H_

#include <vector>

#include "io/config_reader.h"
#include "pcpp/config.h"
#include "schedulers/noise_schedule.h"

namespace pcpp {

// The noise levels of the training by timestep, rising, and their logarithms.
struct TrainingSigmas {
  explicit TrainingSigmas(const NoiseSchedule& schedule);

  // Between two timesteps on the straight line between theirs; at the nearest beyond the ends.
  double at(double timestep) const;
  // Where among the timesteps the noise level lies, by its logarithm; the ends where beyond them.
  double timestep_of(double sigma) const;

  std::vector<float> values;
  std::vector<float> logarithms;
};

// `steps` noise levels from `most` down to `least`, both above 0. `spacing` is karras (arXiv
// 2206.00364, equation 5 with rho 7) or exponential (evenly spaced logarithms).
std::vector<double> spaced_sigmas(SigmaSpacing spacing, double most, double least, int steps);

// read_noise_schedule() for schedulers that step along sigmas: linspace is their default spacing,
// and the last timestep's noise is finite.
NoiseSchedule read_sigma_schedule(ConfigReader& config);

// Reads use_karras_sigmas, use_exponential_sigmas and use_beta_sigmas. Throws CheckpointError.
SigmaSpacing read_sigma_spacing(ConfigReader& config);

}  // namespace pcpp

#endif  // PCPP_SCHEDULERS_SIGMAS_H_
