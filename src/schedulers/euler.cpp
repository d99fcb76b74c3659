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

namespace pcpp {
namespace {

// How the noise levels of a run are chosen.
enum class Source {
  linear,      // the training's, interpolated at the timesteps
  log_linear,  // evenly spaced logarithms over the training's whole range
};
enum class Respacing { none, karras, exponential };  // what is then made of the first and the last

struct EulerConfig {
  NoiseSchedule schedule;
  Prediction prediction = Prediction::epsilon;
  Source source = Source::linear;
  Respacing respacing = Respacing::none;
  std::optional<double> sigma_min;  // the ends of a respaced run; absent: those of `source`
  std::optional<double> sigma_max;
  bool continuous_timesteps = false;  // the U-Net is given log(sigma) / 4
  bool ends_at_zero = true;           // false: at the training's least noise
};

// The noise levels of the training, rising.
std::vector<float> training_sigmas(const NoiseSchedule& schedule) {
  std::vector<float> sigmas;
  for (std::int64_t t = 0; t < schedule.train_timesteps(); ++t) sigmas.push_back(schedule.sigma(t));
  return sigmas;
}

double interpolated(const std::vector<float>& values, double position) {
  if (position >= static_cast<double>(values.size() - 1)) return values.back();
  const auto index = static_cast<std::size_t>(position);
  const double low = values[index];
  return (values[index + 1] - low) * (position - static_cast<double>(index)) + low;
}

// arXiv 2206.00364, equation 5, rho 7.
std::vector<double> karras_sigmas(double from, double to, int steps) {
  constexpr double kRho = 7;
  const double root_from = std::pow(from, 1 / kRho);
  const double root_to = std::pow(to, 1 / kRho);
  std::vector<double> sigmas = even_values(0, 1, steps);
  for (double& sigma : sigmas) {
    sigma = std::pow(root_from + sigma * (root_to - root_from), kRho);
  }
  return sigmas;
}

std::vector<double> exponential_sigmas(double from, double to, int steps) {
  std::vector<double> sigmas = even_values(std::log(from), std::log(to), steps);
  for (double& sigma : sigmas) sigma = std::exp(sigma);
  return sigmas;
}

// Where among the training's timesteps the noise level `sigma` lies, by its logarithm.
double timestep_of(double sigma, const std::vector<float>& log_sigmas) {
  const double log_sigma = std::log(std::max(sigma, 1e-10));
  const auto above = std::upper_bound(log_sigmas.begin(), log_sigmas.end(), log_sigma);
  const auto low =
      std::clamp<std::ptrdiff_t>(above - log_sigmas.begin() - 1, 0, std::ssize(log_sigmas) - 2);
  const float low_log = log_sigmas[static_cast<std::size_t>(low)];
  const float high_log = log_sigmas[static_cast<std::size_t>(low + 1)];
  const double weight = std::clamp((low_log - log_sigma) / (low_log - high_log), 0.0, 1.0);
  return (1 - weight) * static_cast<double>(low) + weight * static_cast<double>(low + 1);
}

class Euler : public Scheduler {
 public:
  explicit Euler(EulerConfig config);

  void set_steps(int steps) override;
  const std::vector<double>& timesteps() const override { return timesteps_; }
  double init_noise_sigma() const override { return init_noise_sigma_; }
  at::Tensor scale_input(const at::Tensor& sample, int step) const override;
  at::Tensor step(const at::Tensor& prediction, int step, const at::Tensor& sample) const override;
  std::optional<LinearUpdate> linear_update(int step) const override;
  std::string_view name() const override { return "euler"; }

 private:
  // The noise level before a step and the one after it.
  struct Levels {
    float sigma = 0;
    float next_sigma = 0;
  };

  std::vector<double> planned_sigmas(const std::vector<double>& timesteps) const;
  std::vector<double> respaced(double from, double to, int steps) const;

  EulerConfig config_;
  std::vector<float> training_sigmas_;
  std::vector<float> log_training_sigmas_;
  std::vector<double> timesteps_;
  std::vector<Levels> levels_;
  double init_noise_sigma_ = 1;
};

Euler::Euler(EulerConfig config)
    : config_(std::move(config)), training_sigmas_(training_sigmas(config_.schedule)) {
  for (const float sigma : training_sigmas_) {
    log_training_sigmas_.push_back(static_cast<float>(std::log(static_cast<double>(sigma))));
  }
}

// At least one noise level a step; log_linear has the one after the last too.
std::vector<double> Euler::planned_sigmas(const std::vector<double>& timesteps) const {
  std::vector<double> sigmas;
  if (config_.source == Source::linear) {
    for (const double timestep : timesteps) {
      sigmas.push_back(interpolated(training_sigmas_, timestep));
    }
    return sigmas;
  }
  const at::Tensor levels =
      at::linspace(log_training_sigmas_.back(), log_training_sigmas_.front(),
                   static_cast<std::int64_t>(timesteps.size()) + 1, at::kFloat)
          .exp();
  sigmas.assign(levels.const_data_ptr<float>(), levels.const_data_ptr<float>() + levels.numel());
  return sigmas;
}

std::vector<double> Euler::respaced(double from, double to, int steps) const {
  const double first = config_.sigma_max.value_or(from);
  const double last = config_.sigma_min.value_or(to);
  return config_.respacing == Respacing::karras ? karras_sigmas(first, last, steps)
                                                : exponential_sigmas(first, last, steps);
}

void Euler::set_steps(int steps) {
  std::vector<double> timesteps = spaced_timesteps(config_.schedule, steps);
  for (double& timestep : timesteps) timestep = static_cast<float>(timestep);
  std::vector<double> sigmas = planned_sigmas(timesteps);
  if (config_.respacing != Respacing::none) {
    sigmas = respaced(sigmas.front(), sigmas.back(), steps);
    std::transform(sigmas.begin(), sigmas.end(), timesteps.begin(), [this](double sigma) {
      return static_cast<float>(timestep_of(sigma, log_training_sigmas_));
    });
  }
  sigmas.push_back(config_.ends_at_zero ? 0 : training_sigmas_.front());
  sigmas.resize(timesteps.size() + 1);

  const std::vector<float> rounded(sigmas.begin(), sigmas.end());
  levels_.clear();
  for (std::size_t i = 0; i < timesteps.size(); ++i) {
    levels_.push_back({rounded[i], rounded[i + 1]});
    if (config_.continuous_timesteps) timesteps[i] = 0.25F * std::log(rounded[i]);
  }
  timesteps_ = std::move(timesteps);
  const float most = *std::max_element(rounded.begin(), rounded.end());
  init_noise_sigma_ =
      config_.schedule.spacing == Spacing::leading ? std::sqrt(most * most + 1) : most;
}

at::Tensor Euler::scale_input(const at::Tensor& sample, int step) const {
  const float sigma = levels_.at(static_cast<std::size_t>(step)).sigma;
  return sample / std::sqrt(sigma * sigma + 1);
}

at::Tensor Euler::step(const at::Tensor& prediction, int step, const at::Tensor& sample) const {
  const auto [sigma, next_sigma] = levels_.at(static_cast<std::size_t>(step));
  const float scale = sigma * sigma + 1;
  at::Tensor image = prediction;
  if (config_.prediction == Prediction::epsilon) {
    image = sample - sigma * prediction;
  } else if (config_.prediction == Prediction::v_prediction) {
    image = prediction * (-sigma / std::sqrt(scale)) + sample / scale;
  }
  const at::Tensor derivative = (sample - image) / sigma;
  return sample + derivative * (next_sigma - sigma);
}

std::optional<LinearUpdate> Euler::linear_update(int step) const {
  const auto [sigma, next_sigma] = levels_.at(static_cast<std::size_t>(step));
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

Respacing read_respacing(ConfigReader& config) {
  config.require_equal("use_beta_sigmas", false, false);
  const bool karras = config.boolean("use_karras_sigmas", false);
  const bool exponential = config.boolean("use_exponential_sigmas", false);
  if (karras && exponential) {
    config.refuse("use_karras_sigmas", "use_exponential_sigmas is true too, and only one may be");
  }
  if (karras) return Respacing::karras;
  return exponential ? Respacing::exponential : Respacing::none;
}

}  // namespace

std::unique_ptr<Scheduler> read_euler(ConfigReader& config) {
  EulerConfig read;
  read.schedule = read_noise_schedule(config, "linspace");
  // A signal of 0 would be infinite noise: diffusers puts the least float16 in its place.
  if (read.schedule.zero_terminal_snr) read.schedule.alphas_cumprod.back() = 0x1p-24F;
  read.prediction = prediction_named(config.one_of(
      "prediction_type", {"epsilon", "sample", "original_sample", "v_prediction"}, "epsilon"));
  read.source = config.one_of("interpolation_type", {"linear", "log_linear"}, "linear") == "linear"
                    ? Source::linear
                    : Source::log_linear;
  read.respacing = read_respacing(config);
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
      read.respacing == Respacing::none) {
    config.refuse("interpolation_type", "with continuous timesteps it must be linear");
  }
  read.ends_at_zero = config.one_of("final_sigmas_type", {"zero", "sigma_min"}, "zero") == "zero";
  return std::make_unique<Euler>(std::move(read));
}

}  // namespace pcpp
