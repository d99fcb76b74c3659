#include "schedulers/ddim.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>

#include <cmath>
#include <cstdint>
#include <optional>
#include <utility>

#include "base/check.h"
#include "schedulers/noise_schedule.h"
#include "schedulers/predicted_image.h"

namespace pcpp {
namespace {

struct DdimConfig {
  NoiseSchedule schedule;
  Prediction prediction = Prediction::epsilon;
  float final_alpha = 1;  // what stands for the timestep before the first
  ImageRange range;
};

class Ddim : public Scheduler {
 public:
  explicit Ddim(DdimConfig config) : config_(std::move(config)) {}

  void set_steps(int steps, int skipped) override;
  const std::vector<double>& timesteps() const override { return timesteps_; }
  at::Tensor noised(const at::Tensor& image, const at::Tensor& noise, int step) const override;
  at::Tensor step(const at::Tensor& prediction, int step, const at::Tensor& sample,
                  SolverState& state) const override;
  std::optional<LinearUpdate> linear_update(int step) const override;
  SchedulerKind kind() const override { return SchedulerKind::ddim; }

 private:
  // What is in a sample, now and one step later.
  struct Step {
    Shares now;
    Shares next;
  };

  Step step_between(std::int64_t timestep, std::int64_t next) const;

  DdimConfig config_;
  std::vector<double> timesteps_;
  std::vector<Step> steps_;
};

Ddim::Step Ddim::step_between(std::int64_t timestep, std::int64_t next) const {
  const std::vector<float>& alphas = config_.schedule.alphas_cumprod;
  const float alpha = alphas.at(static_cast<std::size_t>(timestep));
  const float next_alpha =
      next >= 0 ? alphas.at(static_cast<std::size_t>(next)) : config_.final_alpha;
  return {{std::sqrt(alpha), std::sqrt(1 - alpha)},
          {std::sqrt(next_alpha), std::sqrt(1 - next_alpha)}};
}

void Ddim::set_steps(int steps, int skipped) {
  std::vector<double> timesteps = spaced_timesteps(config_.schedule, steps);
  skip_first(timesteps, skipped);
  const std::int64_t count = config_.schedule.train_timesteps();
  std::vector<Step> planned;
  for (double& timestep : timesteps) {
    timestep = std::nearbyint(timestep);
    const auto index = static_cast<std::int64_t>(timestep);
    check_trained(config_.schedule, steps, timestep);
    // The distance in training timesteps, whatever the spacing: diffusers' rule.
    planned.push_back(step_between(index, index - count / steps));
    check<ConfigError>(config_.prediction != Prediction::epsilon || planned.back().now.image > 0,
                       "steps is {}; that visits timestep {}, where the model's "
                       "rescale_betas_zero_snr leaves no signal, so its prediction_type epsilon "
                       "does not determine an image: choose the euler scheduler",
                       steps, index);
  }
  timesteps_ = std::move(timesteps);
  steps_ = std::move(planned);
}

at::Tensor Ddim::noised(const at::Tensor& image, const at::Tensor& noise, int step) const {
  return mixed(steps_.at(static_cast<std::size_t>(step)).now, image, noise);
}

at::Tensor Ddim::step(const at::Tensor& prediction, int step, const at::Tensor& sample,
                      SolverState& /*state*/) const {
  const auto& [now, next] = steps_.at(static_cast<std::size_t>(step));
  at::Tensor noise = prediction;
  if (config_.prediction == Prediction::sample) {
    noise = (sample - now.image * prediction) / now.noise;
  } else if (config_.prediction == Prediction::v_prediction) {
    noise = now.image * prediction + now.noise * sample;
  }
  const at::Tensor image = image_of(config_.prediction, now, prediction, sample);
  return mixed(next, kept_in(config_.range, image), noise);
}

std::optional<LinearUpdate> Ddim::linear_update(int step) const {
  if (!config_.range.is_endless()) return std::nullopt;
  const auto& [now, next] = steps_.at(static_cast<std::size_t>(step));
  switch (config_.prediction) {
    case Prediction::epsilon: {
      const float image = next.image / now.image;
      return LinearUpdate{image, next.noise - image * now.noise};
    }
    case Prediction::sample: {
      const float noise = next.noise / now.noise;
      return LinearUpdate{noise, next.image - noise * now.image};
    }
    case Prediction::v_prediction:
      break;
  }
  return LinearUpdate{next.image * now.image + next.noise * now.noise,
                      next.noise * now.image - next.image * now.noise};
}

}  // namespace

std::unique_ptr<Scheduler> read_ddim(ConfigReader& config) {
  DdimConfig read;
  read.schedule = read_noise_schedule(config, {"leading"});
  read.prediction = prediction_named(
      config.one_of("prediction_type", {"epsilon", "sample", "v_prediction"}, "epsilon"));
  if (!config.boolean("set_alpha_to_one", true)) {
    read.final_alpha = read.schedule.alphas_cumprod.front();
  }
  read.range = read_image_range(config, true);
  return std::make_unique<Ddim>(std::move(read));
}

}  // namespace pcpp
