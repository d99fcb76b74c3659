// What all schedulers share: how much signal each timestep of the training keeps, and which of them
// a run visits. The arithmetic is diffusers', operation for operation, float32 where it is there.
#ifndef PCPP_SCHEDULERS_NOISE_SCHEDULE_H_
#define PCPP_SCHEDULERS_NOISE_SCHEDULE_H_

#include <cstdint>
#include <iterator>
#include <string_view>
#include <vector>

#include "base/check.h"
#include "io/config_reader.h"
#include "pcpp/config.h"

namespace pcpp {

// What the U-Net predicts.
enum class Prediction { epsilon, sample, v_prediction };

// "v_prediction", "epsilon", and "sample" or "original_sample".
Prediction prediction_named(std::string_view name);

struct NoiseSchedule {
  // For each timestep of the training the product of (1 - beta) up to it, falling, in (0, 1); the
  // last is 0 with rescale_betas_zero_snr.
  std::vector<float> alphas_cumprod;
  bool zero_terminal_snr = false;
  TimestepSpacing spacing = TimestepSpacing::leading;
  std::int64_t steps_offset = 0;  // added to the timesteps of TimestepSpacing::leading

  std::int64_t train_timesteps() const { return static_cast<std::int64_t>(alphas_cumprod.size()); }

  // sqrt((1 - alpha) / alpha) at a timestep of the training.
  float sigma(std::int64_t timestep) const;
};

// What a class of schedulers takes for keys that its file lacks.
struct ScheduleDefaults {
  std::string_view timestep_spacing;
  double beta_start = 0.0001;
  double beta_end = 0.02;
  std::string_view beta_schedule = "linear";
};

// Reads num_train_timesteps, beta_start, beta_end, beta_schedule, trained_betas,
// rescale_betas_zero_snr, timestep_spacing and steps_offset. Throws CheckpointError.
NoiseSchedule read_noise_schedule(ConfigReader& config, const ScheduleDefaults& defaults);

// `steps` timesteps, falling; whole but for TimestepSpacing::linspace. Throws ConfigError unless
// `steps` lies in [1, train_timesteps]. Where diffusers rounds to one timestep too many (trailing,
// 61 steps of 1000: a last one at -1), that one is left out.
std::vector<double> spaced_timesteps(const NoiseSchedule& schedule, int steps);

// Throws ConfigError where a run of `steps` steps visits a timestep beyond the training's, as
// steps_offset can make it.
void check_trained(const NoiseSchedule& schedule, int steps, double timestep);

// TimestepSpacing::trailing: timesteps from `from` - 1 down, `distance` apart, to nothing or to the
// `most`-th.
std::vector<double> trailing_timesteps(double from, double distance, int most);

// Leaves out the first `skipped` of a run's timesteps, or of what there is for each of them. Throws
// ConfigError where none would be left.
template <typename Value>
void skip_first(std::vector<Value>& values, int skipped) {
  check<ConfigError>(
      skipped >= 0 && skipped < std::ssize(values),
      "a run that visits {} timesteps has no step left after the {} that it leaves out: ask for "
      "more strength or more steps",
      values.size(), skipped);
  values.erase(values.begin(), values.begin() + skipped);
}

// numpy.linspace: `count` evenly spaced values from `first` to `last`.
std::vector<double> even_values(double first, double last, int count);

}  // namespace pcpp

#endif  // PCPP_SCHEDULERS_NOISE_SCHEDULE_H_
