#include "schedulers/lcm.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <fmt/format.h>

#include <cmath>
#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include "base/check.h"
#include "schedulers/noise_schedule.h"
#include "schedulers/predicted_image.h"

namespace pcpp {
namespace {

constexpr double kMostScaling = 1e6;
constexpr float kDataVariance = 0.25F;  // sigma_data of the boundary condition, squared

struct LcmConfig {
  NoiseSchedule schedule;
  Prediction prediction = Prediction::epsilon;
  std::int64_t distilled_steps = 50;  // whose timesteps the model was distilled on
  float timestep_scaling = 10;
  ImageRange range;
};

class Lcm : public Scheduler {
 public:
  explicit Lcm(LcmConfig config) : config_(std::move(config)) {}

  void set_steps(int steps, int skipped) override;
  const std::vector<double>& timesteps() const override { return timesteps_; }
  at::Tensor noised(const at::Tensor& image, const at::Tensor& noise, int step) const override;
  int noisy_steps() const override {
    return steps_.empty() ? 0 : static_cast<int>(std::ssize(steps_)) - 1;
  }
  at::Tensor step(const at::Tensor& prediction, int step, const at::Tensor& sample,
                  SolverState& state) const override;
  SchedulerKind kind() const override { return SchedulerKind::lcm; }

 private:
  // What is in a sample, and how much of it and of the image predicted from it the consistency
  // function returns (arXiv 2310.04378, section 4.1).
  struct Step {
    Shares now;
    float skipped = 0;
    float predicted = 0;
  };

  Step step_at(std::int64_t timestep) const;

  LcmConfig config_;
  std::vector<double> timesteps_;
  std::vector<Step> steps_;
};

Lcm::Step Lcm::step_at(std::int64_t timestep) const {
  const float alpha = config_.schedule.alphas_cumprod.at(static_cast<std::size_t>(timestep));
  const float scaled = static_cast<float>(timestep) * config_.timestep_scaling;
  const float sum = scaled * scaled + kDataVariance;
  return {{std::sqrt(alpha), std::sqrt(1 - alpha)}, kDataVariance / sum, scaled / std::sqrt(sum)};
}

void Lcm::set_steps(int steps, int skipped) {
  check<ConfigError>(
      steps >= 1 && steps <= config_.distilled_steps,
      "steps is {}; with the lcm scheduler it must lie in [1, {}], the "
      "original_inference_steps of the model's scheduler_config.json, or 50 where it "
      "says none: take fewer steps",
      steps, config_.distilled_steps);
  const std::int64_t distance = config_.schedule.train_timesteps() / config_.distilled_steps;
  const double spacing = static_cast<double>(config_.distilled_steps) / steps;
  std::vector<double> timesteps;
  std::vector<Step> planned;
  for (int i = 0; i < steps; ++i) {
    const std::int64_t left = config_.distilled_steps - static_cast<std::int64_t>(i * spacing);
    const std::int64_t timestep = left * distance - 1;
    timesteps.push_back(static_cast<double>(timestep));
    planned.push_back(step_at(timestep));
  }
  skip_first(timesteps, skipped);
  skip_first(planned, skipped);
  check<ConfigError>(config_.prediction != Prediction::epsilon || planned.front().now.image > 0,
                     "the lcm scheduler begins where the model's rescale_betas_zero_snr leaves no "
                     "signal, so its prediction_type epsilon does not determine an image: choose "
                     "the euler scheduler");
  timesteps_ = std::move(timesteps);
  steps_ = std::move(planned);
}

at::Tensor Lcm::noised(const at::Tensor& image, const at::Tensor& noise, int step) const {
  return mixed(steps_.at(static_cast<std::size_t>(step)).now, image, noise);
}

at::Tensor Lcm::step(const at::Tensor& prediction, int step, const at::Tensor& sample,
                     SolverState& state) const {
  const auto index = static_cast<std::size_t>(step);
  const Step& planned = steps_.at(index);
  const at::Tensor image = image_of(config_.prediction, planned.now, prediction, sample);
  const at::Tensor denoised =
      planned.predicted * kept_in(config_.range, image) + planned.skipped * sample;
  if (index + 1 == steps_.size()) return denoised;
  return mixed(steps_[index + 1].now, denoised, state.noises[step]);
}

}  // namespace

std::unique_ptr<Scheduler> read_lcm(ConfigReader& config) {
  LcmConfig read;
  read.schedule = read_noise_schedule(config, {"leading", 0.00085, 0.012, "scaled_linear"});
  read.prediction = prediction_named(
      config.one_of("prediction_type", {"epsilon", "sample", "v_prediction"}, "epsilon"));
  read.distilled_steps = config.integer("original_inference_steps", 50);
  if (read.distilled_steps < 1 || read.distilled_steps > read.schedule.train_timesteps()) {
    config.refuse(
        "original_inference_steps",
        fmt::format("it must lie in [1, num_train_timesteps], here [1, {}] (50 where it is "
                    "not written)",
                    read.schedule.train_timesteps()));
  }
  const double scaling = config.number("timestep_scaling", 10);
  if (!(scaling > 0 && scaling <= kMostScaling)) {
    config.refuse("timestep_scaling",
                  fmt::format("it must be above 0, and at most {}", kMostScaling));
  }
  read.timestep_scaling = static_cast<float>(scaling);
  read.range = read_image_range(config, false);
  return std::make_unique<Lcm>(std::move(read));
}

}  // namespace pcpp
