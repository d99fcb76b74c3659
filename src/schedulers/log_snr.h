// What the exponential integrators DPM-Solver++ and UniPC have in common: noise levels by
// log(image / noise), in which their steps are measured, and which of them a run visits.
#ifndef PCPP_SCHEDULERS_LOG_SNR_H_
#define PCPP_SCHEDULERS_LOG_SNR_H_

#include <cstdint>
#include <vector>

#include "pcpp/config.h"
#include "schedulers/noise_schedule.h"
#include "schedulers/predicted_image.h"
#include "schedulers/sigmas.h"

namespace pcpp {

// The shares of image and noise in a sample, and log(image / noise).
struct NoiseLevel {
  explicit NoiseLevel(float sigma);

  Shares shares() const { return {image, noise}; }

  float image;
  float noise;
  float lambda;
};

// Where a run's noise levels lie.
struct LevelChoice {
  SigmaSpacing spacing = SigmaSpacing::timesteps;
  bool rounds_timesteps = true;  // to whole ones, of other spacings; else they are cut
  bool ends_at_zero = true;      // false: at the training's least noise
};

struct LevelRun {
  std::vector<double> timesteps;  // of the steps that are made
  std::vector<double> sigmas;     // of all steps, and where the last one ends
};

// Of `steps` steps, the first `skipped` of which are not made, from the first `visited` of the
// training's timesteps; the rule is diffusers', in which the last step's end counts as one more
// timestep. Throws ConfigError unless `steps` lies in [1, visited - 1], and where a step visits a
// timestep after the training's.
LevelRun planned_levels(const NoiseSchedule& schedule, const TrainingSigmas& training,
                        const LevelChoice& choice, std::int64_t visited, int steps, int skipped);

}  // namespace pcpp

#endif  // PCPP_SCHEDULERS_LOG_SNR_H_
