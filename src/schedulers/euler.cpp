#include "schedulers/euler.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/linspace.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <optional>
#include <utility>

#include "schedulers/noise_schedule.h"
#include "schedulers/sigmas.h"

namespace pcpp {
namespace {

// How the noise levels of a run are chosen.
enum class Source {
  linear,      // the training's, interpolated at the timesteps
  log_linear,  // evenly spaced logarithms over the training's whole range
};

struct EulerConfig {
  NoiseSchedule schedule;
  Prediction prediction = Prediction::epsilon;
  Source source = Source::linear;
  SigmaSpacing spacing = SigmaSpacing::timesteps;
  std::optional<double> sigma_min;  // the ends of another spacing; absent: those of `source`
  std::optional<double> sigma_max;
  bool ancestral = false;
  bool continuous_timesteps = false;  // the U-Net is given log(sigma) / 4
  bool ends_at_zero = true;           // false: at the training's least noise
};

class Euler : public Scheduler {
 public:
  explicit Euler(EulerConfig config) : config_(std::move(config)), training_(config_.schedule) {}

  void set_steps(int steps, int skipped) override;
  const std::vector<double>& timesteps() const override { return timesteps_; }
  double init_noise_sigma() const override { return init_noise_sigma_; }
  at::Tensor noised(const at::Tensor& image, const at::Tensor& noise, int step) const override;
  at::Tensor scale_input(const at::Tensor& sample, int step) const override;
  at::Tensor step(const at::Tensor& prediction, int step, const at::Tensor& sample,
                  SolverState& state) const override;
  std::optional<LinearUpdate> linear_update(int step) const override;
  int noisy_steps() const override {
    return config_.ancestral && !levels_.empty() ? static_cast<int>(std::ssize(levels_)) - 1 : 0;
  }
  SchedulerKind kind() const override {
    return config_.ancestral ? SchedulerKind::euler_ancestral : SchedulerKind::euler;
  }

 private:
  // The noise level before a step, the one that it steps down to, and what it adds to that.
  struct Levels {
    float sigma = 0;
    float next_sigma = 0;
    float added_sigma = 0;
  };

  Levels levels_between(float sigma, float next_sigma) const;

  std::vector<double> planned_sigmas(const std::vector<double>& timesteps) const;

  EulerConfig config_;
  TrainingSigmas training_;
  std::vector<double> timesteps_;
  std::vector<Levels> levels_;
  double init_noise_sigma_ = 1;
};

// At least one noise level a step; log_linear has the one after the last too.
std::vector<double> Euler::planned_sigmas(const std::vector<double>& timesteps) const {
  std::vector<double> sigmas;
  if (config_.source == Source::linear) {
    for (const double timestep : timesteps) {
      sigmas.push_back(training_.at(timestep));
    }
    return sigmas;
  }
  const at::Tensor levels =
      at::linspace(training_.logarithms.back(), training_.logarithms.front(),
                   static_cast<std::int64_t>(timesteps.size()) + 1, at::kFloat)
          .exp();
  sigmas.assign(levels.const_data_ptr<float>(), levels.const_data_ptr<float>() + levels.numel());
  return sigmas;
}

// An ancestral step lands below the next noise level by as much as it adds (k-diffusion's
// get_ancestral_step with eta 1).
Euler::Levels Euler::levels_between(float sigma, float next_sigma) const {
  if (!config_.ancestral) return {sigma, next_sigma, 0};
  const float next_square = next_sigma * next_sigma;
  const float square = sigma * sigma;
  const float added = std::sqrt(next_square * (square - next_square) / square);
  return {sigma, std::sqrt(std::max(next_square - added * added, 0.0F)), added};
}

void Euler::set_steps(int steps, int skipped) {
  std::vector<double> timesteps = spaced_timesteps(config_.schedule, steps);
  for (double& timestep : timesteps) timestep = static_cast<float>(timestep);
  std::vector<double> sigmas = planned_sigmas(timesteps);
  if (config_.spacing != SigmaSpacing::timesteps) {
    sigmas = spaced_sigmas(config_.spacing, config_.sigma_max.value_or(sigmas.front()),
                           config_.sigma_min.value_or(sigmas.back()), steps);
    std::transform(sigmas.begin(), sigmas.end(), timesteps.begin(), [this](double sigma) {
      return static_cast<float>(training_.timestep_of(sigma));
    });
  }
  sigmas.push_back(config_.ends_at_zero ? 0 : training_.values.front());
  sigmas.resize(timesteps.size() + 1);

  const std::vector<float> rounded(sigmas.begin(), sigmas.end());
  std::vector<Levels> levels;
  for (std::size_t i = 0; i < timesteps.size(); ++i) {
    levels.push_back(levels_between(rounded[i], rounded[i + 1]));
    if (config_.continuous_timesteps) timesteps[i] = 0.25F * std::log(rounded[i]);
  }
  skip_first(timesteps, skipped);
  skip_first(levels, skipped);
  timesteps_ = std::move(timesteps);
  levels_ = std::move(levels);
  const float most = *std::max_element(rounded.begin(), rounded.end());
  init_noise_sigma_ =
      config_.schedule.spacing == TimestepSpacing::leading ? std::sqrt(most * most + 1) : most;
}

at::Tensor Euler::noised(const at::Tensor& image, const at::Tensor& noise, int step) const {
  return image + noise * levels_.at(static_cast<std::size_t>(step)).sigma;
}

at::Tensor Euler::scale_input(const at::Tensor& sample, int step) const {
  const float sigma = levels_.at(static_cast<std::size_t>(step)).sigma;
  return sample / std::sqrt(sigma * sigma + 1);
}

at::Tensor Euler::step(const at::Tensor& prediction, int step, const at::Tensor& sample,
                       SolverState& state) const {
  const auto [sigma, next_sigma, added_sigma] = levels_.at(static_cast<std::size_t>(step));
  const float scale = sigma * sigma + 1;
  at::Tensor image = prediction;
  if (config_.prediction == Prediction::epsilon) {
    image = sample - sigma * prediction;
  } else if (config_.prediction == Prediction::v_prediction) {
    image = prediction * (-sigma / std::sqrt(scale)) + sample / scale;
  }
  const at::Tensor derivative = (sample - image) / sigma;
  const at::Tensor next = sample + derivative * (next_sigma - sigma);
  return added_sigma > 0 ? next + state.noises[step] * added_sigma : next;
}

std::optional<LinearUpdate> Euler::linear_update(int step) const {
  if (config_.ancestral) return std::nullopt;
  const auto [sigma, next_sigma, added_sigma] = levels_.at(static_cast<std::size_t>(step));
  const float distance = next_sigma - sigma;
  const float scale = sigma * sigma + 1;
  switch (config_.prediction) {
    case Prediction::epsilon:
      return LinearUpdate{1, distance};
    case Prediction::sample:
      return LinearUpdate{next_sigma / sigma, -distance / sigma};
    case Prediction::v_prediction:
      break;
  }
  return LinearUpdate{1 + distance * sigma / scale, distance / std::sqrt(scale)};
}

}  // namespace

std::unique_ptr<Scheduler> read_euler(ConfigReader& config) {
  EulerConfig read;
  read.schedule = read_sigma_schedule(config);
  read.prediction = prediction_named(config.one_of(
      "prediction_type", {"epsilon", "sample", "original_sample", "v_prediction"}, "epsilon"));
  read.source = config.one_of("interpolation_type", {"linear", "log_linear"}, "linear") == "linear"
                    ? Source::linear
                    : Source::log_linear;
  read.spacing = read_sigma_spacing(config);
  read.sigma_min = config.optional_number("sigma_min");
  read.sigma_max = config.optional_number("sigma_max");
  for (const auto& [key, sigma] :
       {std::pair{"sigma_min", read.sigma_min}, std::pair{"sigma_max", read.sigma_max}}) {
    if (sigma && !(*sigma > 0)) config.refuse(key, "a noise level must be above 0");
  }
  if (read.sigma_min && read.sigma_max && !(*read.sigma_min < *read.sigma_max)) {
    config.refuse("sigma_min", "it must be below sigma_max");
  }
  // With the other predictions diffusers keeps discrete timesteps whatever timestep_type says.
  read.continuous_timesteps =
      config.one_of("timestep_type", {"discrete", "continuous"}, "discrete") == "continuous" &&
      read.prediction == Prediction::v_prediction;
  if (read.continuous_timesteps && read.source == Source::log_linear &&
      read.spacing == SigmaSpacing::timesteps) {
    config.refuse("interpolation_type", "with continuous timesteps it must be linear");
  }
  read.ends_at_zero = config.one_of("final_sigmas_type", {"zero", "sigma_min"}, "zero") == "zero";
  return std::make_unique<Euler>(std::move(read));
}

std::unique_ptr<Scheduler> read_euler_ancestral(ConfigReader& config) {
  EulerConfig read;
  read.schedule = read_sigma_schedule(config);
  read.prediction =
      prediction_named(config.one_of("prediction_type", {"epsilon", "v_prediction"}, "epsilon"));
  read.ancestral = true;
  return std::make_unique<Euler>(std::move(read));
}

}  // namespace pcpp
