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
#include "schedulers/thresholding.h"

namespace pcpp {
namespace {

constexpr float kDataVariance = 0.25F;  // sigma_data of the boundary condition, squared

struct LcmConfig {
  NoiseSchedule schedule;
  Prediction prediction = Prediction::epsilon;
  std::int64_t distilled_steps = 50;  // whose timesteps the model was distilled on
  float timestep_scaling = 10;
  std::optional<Thresholding> thresholding;
  std::optional<double> clip;  // the predicted image is cut to [-clip, clip]
};

class Lcm : public Scheduler {
 public:
  explicit Lcm(LcmConfig config) : config_(std::move(config)) {}

  void set_steps(int steps, int skipped) override;
  const std::vector<double>& timesteps() const override { return timesteps_; }
  double init_noise_sigma() const override { return 1; }
  at::Tensor noised(const at::Tensor& image, const at::Tensor& noise) const override;
  at::Tensor scale_input(const at::Tensor& sample, int step) const override;
  bool adds_noise() const override { return true; }
  at::Tensor step(const at::Tensor& prediction, int step, const at::Tensor& sample,
                  SolverState& state) const override;
  std::optional<LinearUpdate> linear_update(int /*step*/) const override { return std::nullopt; }
  SchedulerKind kind() const override { return SchedulerKind::lcm; }

 private:
  // The shares of image and noise in a sample, and those of sample and predicted image in what the
  // consistency function returns (arXiv 2310.04378, section 4.1).
  struct Shares {
    float image = 0;
    float noise = 0;
    float skipped = 0;
    float predicted = 0;
  };

  Shares shares_at(std::int64_t timestep) const;

  LcmConfig config_;
  std::vector<double> timesteps_;
  std::vector<Shares> shares_;
};

Lcm::Shares Lcm::shares_at(std::int64_t timestep) const {
  const float alpha = config_.schedule.alphas_cumprod.at(static_cast<std::size_t>(timestep));
  const float scaled = static_cast<float>(timestep) * config_.timestep_scaling;
  const float sum = scaled * scaled + kDataVariance;
  return {std::sqrt(alpha), std::sqrt(1 - alpha), kDataVariance / sum, scaled / std::sqrt(sum)};
}

void Lcm::set_steps(int steps, int skipped) {
  check<ConfigError>(steps >= 1 && steps <= config_.distilled_steps,
                     "steps is {}; with the lcm scheduler it must lie in [1, {}], the model's "
                     "original_inference_steps",
                     steps, config_.distilled_steps);
  const std::int64_t distance = config_.schedule.train_timesteps() / config_.distilled_steps;
  const double spacing = static_cast<double>(config_.distilled_steps) / steps;
  std::vector<double> timesteps;
  std::vector<Shares> shares;
  for (int i = 0; i < steps; ++i) {
    const std::int64_t left = config_.distilled_steps - static_cast<std::int64_t>(i * spacing);
    const std::int64_t timestep = left * distance - 1;
    timesteps.push_back(static_cast<double>(timestep));
    shares.push_back(shares_at(timestep));
  }
  skip_first(timesteps, skipped);
  skip_first(shares, skipped);
  check<ConfigError>(config_.prediction != Prediction::epsilon || shares.front().image > 0,
                     "the lcm scheduler begins where the model's rescale_betas_zero_snr leaves no "
                     "signal, so its prediction_type epsilon does not determine an image: choose "
                     "the euler scheduler");
  timesteps_ = std::move(timesteps);
  shares_ = std::move(shares);
}

at::Tensor Lcm::noised(const at::Tensor& image, const at::Tensor& noise) const {
  return shares_.at(0).image * image + shares_.at(0).noise * noise;
}

at::Tensor Lcm::scale_input(const at::Tensor& sample, int step) const {
  static_cast<void>(shares_.at(static_cast<std::size_t>(step)));
  return sample;
}

at::Tensor Lcm::step(const at::Tensor& prediction, int step, const at::Tensor& sample,
                     SolverState& state) const {
  const Shares& share = shares_.at(static_cast<std::size_t>(step));
  at::Tensor image = prediction;
  if (config_.prediction == Prediction::epsilon) {
    image = (sample - share.noise * prediction) / share.image;
  } else if (config_.prediction == Prediction::v_prediction) {
    image = share.image * sample - share.noise * prediction;
  }
  if (config_.thresholding) {
    image = thresholded(image, *config_.thresholding);
  } else if (config_.clip) {
    image = image.clamp(-*config_.clip, *config_.clip);
  }
  const at::Tensor denoised = share.predicted * image + share.skipped * sample;
  const auto next = static_cast<std::size_t>(step) + 1;
  if (next == shares_.size()) return denoised;
  return shares_[next].image * denoised + shares_[next].noise * state.noises[step];
}

}  // namespace

std::unique_ptr<Scheduler> read_lcm(ConfigReader& config) {
  LcmConfig read;
  read.schedule = read_noise_schedule(config, {"leading", 0.00085, 0.012, "scaled_linear"});
  read.prediction = prediction_named(
      config.one_of("prediction_type", {"epsilon", "sample", "v_prediction"}, "epsilon"));
  read.distilled_steps = config.integer("original_inference_steps", 50);
  if (read.distilled_steps < 1 || read.distilled_steps > read.schedule.train_timesteps()) {
    config.refuse("original_inference_steps",
                  fmt::format("it must lie in [1, num_train_timesteps], here [1, {}]",
                              read.schedule.train_timesteps()));
  }
  read.timestep_scaling = static_cast<float>(config.number("timestep_scaling", 10));
  read.clip = read_clip(config, false);
  read.thresholding = read_thresholding(config);
  return std::make_unique<Lcm>(std::move(read));
}

}  // namespace pcpp
