#include "schedulers/log_snr.h"

#include <cmath>
#include <cstddef>

#include "base/check.h"

namespace pcpp {

namespace {

std::vector<double> whole_timesteps(const NoiseSchedule& schedule, std::int64_t visited,
                                    int steps) {
  if (schedule.spacing == TimestepSpacing::trailing) {
    return trailing_timesteps(
        static_cast<double>(visited),
        static_cast<double>(schedule.train_timesteps()) / static_cast<double>(steps), steps);
  }
  const std::vector<double> even = even_values(0, static_cast<double>(visited - 1), steps + 1);
  const std::int64_t distance = visited / (steps + 1);
  std::vector<double> timesteps;
  for (int i = steps; i > 0; --i) {
    timesteps.push_back(schedule.spacing == TimestepSpacing::linspace
                            ? std::nearbyint(even[static_cast<std::size_t>(i)])
                            : static_cast<double>(i * distance + schedule.steps_offset));
  }
  return timesteps;
}

}  // namespace

NoiseLevel::NoiseLevel(float sigma)
    : image(1 / std::sqrt(sigma * sigma + 1)),
      noise(sigma * image),
      lambda(std::log(image) - std::log(noise)) {}

LevelRun planned_levels(const NoiseSchedule& schedule, const TrainingSigmas& training,
                        const LevelChoice& choice, std::int64_t visited, int steps, int skipped) {
  const std::int64_t most = visited - 1;
  check<ConfigError>(steps >= 1 && steps <= most,
                     "steps is {}; it must lie in [1, {}], below the timesteps that the model was "
                     "trained on",
                     steps, most);
  LevelRun run;
  if (choice.spacing == SigmaSpacing::timesteps) {
    run.timesteps = whole_timesteps(schedule, visited, steps);
    for (const double timestep : run.timesteps) run.sigmas.push_back(training.at(timestep));
  } else {
    run.sigmas =
        spaced_sigmas(choice.spacing, training.values.back(), training.values.front(), steps);
    for (const double sigma : run.sigmas) {
      const double timestep = training.timestep_of(sigma);
      run.timesteps.push_back(choice.rounds_timesteps ? std::nearbyint(timestep)
                                                      : std::trunc(timestep));
    }
  }
  run.sigmas.push_back(choice.ends_at_zero ? 0 : training.values.front());
  skip_first(run.timesteps, skipped);
  check_trained(schedule, steps, run.timesteps.front());
  return run;
}

}  // namespace pcpp
