#include "schedulers/ddim.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>

#include <cmath>
#include <cstdint>
#include <optional>
#include <utility>

#include "base/check.h"
#include "schedulers/noise_schedule.h"
#include "schedulers/thresholding.h"

namespace pcpp {
namespace {

struct DdimConfig {
  NoiseSchedule schedule;
  Prediction prediction = Prediction::epsilon;
  float final_alpha = 1;  // what stands for the timestep before the first
  std::optional<Thresholding> thresholding;
  std::optional<double> clip;  // the predicted image is cut to [-clip, clip]
};

class Ddim : public Scheduler {
 public:
  explicit Ddim(DdimConfig config) : config_(std::move(config)) {}

  void set_steps(int steps, int skipped) override;
  const std::vector<double>& timesteps() const override { return timesteps_; }
  double init_noise_sigma() const override { return 1; }
  at::Tensor noised(const at::Tensor& image, const at::Tensor& noise) const override;
  at::Tensor scale_input(const at::Tensor& sample, int step) const override;
  at::Tensor step(const at::Tensor& prediction, int step, const at::Tensor& sample,
                  SolverState& state) const override;
  std::optional<LinearUpdate> linear_update(int step) const override;
  SchedulerKind kind() const override { return SchedulerKind::ddim; }

 private:
  // The shares of image and noise in a sample, now and one step later.
  struct Shares {
    float image = 0;
    float noise = 0;
    float next_image = 0;
    float next_noise = 0;
  };

  Shares shares_at(std::int64_t timestep, std::int64_t next) const;

  DdimConfig config_;
  std::vector<double> timesteps_;
  std::vector<Shares> shares_;
};

Ddim::Shares Ddim::shares_at(std::int64_t timestep, std::int64_t next) const {
  const std::vector<float>& alphas = config_.schedule.alphas_cumprod;
  const float alpha = alphas.at(static_cast<std::size_t>(timestep));
  const float next_alpha =
      next >= 0 ? alphas.at(static_cast<std::size_t>(next)) : config_.final_alpha;
  return {std::sqrt(alpha), std::sqrt(1 - alpha), std::sqrt(next_alpha), std::sqrt(1 - next_alpha)};
}

void Ddim::set_steps(int steps, int skipped) {
  std::vector<double> timesteps = spaced_timesteps(config_.schedule, steps);
  skip_first(timesteps, skipped);
  const std::int64_t count = config_.schedule.train_timesteps();
  std::vector<Shares> shares;
  for (double& timestep : timesteps) {
    timestep = std::nearbyint(timestep);
    const auto index = static_cast<std::int64_t>(timestep);
    check<ConfigError>(index < count,
                       "steps is {}; with the model's steps_offset of {} that visits timestep {}, "
                       "and it was trained on 0 to {} only: take fewer steps",
                       steps, config_.schedule.steps_offset, index, count - 1);
    // The distance in training timesteps, whatever the spacing: diffusers' rule.
    shares.push_back(shares_at(index, index - count / steps));
    check<ConfigError>(config_.prediction != Prediction::epsilon || shares.back().image > 0,
                       "steps is {}; that visits timestep {}, where the model's "
                       "rescale_betas_zero_snr leaves no signal, so its prediction_type epsilon "
                       "does not determine an image: choose the euler scheduler",
                       steps, index);
  }
  timesteps_ = std::move(timesteps);
  shares_ = std::move(shares);
}

at::Tensor Ddim::noised(const at::Tensor& image, const at::Tensor& noise) const {
  return shares_.at(0).image * image + shares_.at(0).noise * noise;
}

at::Tensor Ddim::scale_input(const at::Tensor& sample, int step) const {
  static_cast<void>(shares_.at(static_cast<std::size_t>(step)));
  return sample;
}

at::Tensor Ddim::step(const at::Tensor& prediction, int step, const at::Tensor& sample,
                      SolverState& /*state*/) const {
  const Shares& share = shares_.at(static_cast<std::size_t>(step));
  at::Tensor image = prediction;
  at::Tensor noise = prediction;
  switch (config_.prediction) {
    case Prediction::epsilon:
      image = (sample - share.noise * prediction) / share.image;
      break;
    case Prediction::sample:
      noise = (sample - share.image * prediction) / share.noise;
      break;
    case Prediction::v_prediction:
      image = share.image * sample - share.noise * prediction;
      noise = share.image * prediction + share.noise * sample;
      break;
  }
  if (config_.thresholding) {
    image = thresholded(image, *config_.thresholding);
  } else if (config_.clip) {
    image = image.clamp(-*config_.clip, *config_.clip);
  }
  return share.next_image * image + share.next_noise * noise;
}

std::optional<LinearUpdate> Ddim::linear_update(int step) const {
  if (config_.thresholding || config_.clip) return std::nullopt;
  const Shares& share = shares_.at(static_cast<std::size_t>(step));
  switch (config_.prediction) {
    case Prediction::epsilon: {
      const float image = share.next_image / share.image;
      return LinearUpdate{image, share.next_noise - image * share.noise};
    }
    case Prediction::sample: {
      const float noise = share.next_noise / share.noise;
      return LinearUpdate{noise, share.next_image - noise * share.image};
    }
    case Prediction::v_prediction:
      break;
  }
  return LinearUpdate{share.next_image * share.image + share.next_noise * share.noise,
                      share.next_noise * share.image - share.next_image * share.noise};
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
  read.clip = read_clip(config, true);
  read.thresholding = read_thresholding(config);
  return std::make_unique<Ddim>(std::move(read));
}

}  // namespace pcpp
