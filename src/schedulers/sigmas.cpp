#include "schedulers/sigmas.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <iterator>

namespace pcpp {

TrainingSigmas::TrainingSigmas(const NoiseSchedule& schedule) {
  for (std::int64_t t = 0; t < schedule.train_timesteps(); ++t) {
    values.push_back(schedule.sigma(t));
    logarithms.push_back(static_cast<float>(std::log(static_cast<double>(values.back()))));
  }
}

double TrainingSigmas::at(double timestep) const {
  if (timestep <= 0) return values.front();
  if (timestep >= static_cast<double>(values.size() - 1)) return values.back();
  const auto index = static_cast<std::size_t>(timestep);
  const double low = values[index];
  return (values[index + 1] - low) * (timestep - static_cast<double>(index)) + low;
}

double TrainingSigmas::timestep_of(double sigma) const {
  const double log_sigma = std::log(std::max(sigma, 1e-10));
  const auto above = std::upper_bound(logarithms.begin(), logarithms.end(), log_sigma);
  const auto low =
      std::clamp<std::ptrdiff_t>(above - logarithms.begin() - 1, 0, std::ssize(logarithms) - 2);
  const float low_log = logarithms[static_cast<std::size_t>(low)];
  const float high_log = logarithms[static_cast<std::size_t>(low + 1)];
  const double weight = std::clamp((low_log - log_sigma) / (low_log - high_log), 0.0, 1.0);
  return (1 - weight) * static_cast<double>(low) + weight * static_cast<double>(low + 1);
}

std::vector<double> spaced_sigmas(SigmaSpacing spacing, double most, double least, int steps) {
  if (spacing == SigmaSpacing::exponential) {
    std::vector<double> sigmas = even_values(std::log(most), std::log(least), steps);
    for (double& sigma : sigmas) sigma = std::exp(sigma);
    return sigmas;
  }
  constexpr double kRho = 7;
  const double root_of_most = std::pow(most, 1 / kRho);
  const double root_of_least = std::pow(least, 1 / kRho);
  std::vector<double> sigmas = even_values(0, 1, steps);
  for (double& sigma : sigmas) {
    sigma = std::pow(root_of_most + sigma * (root_of_least - root_of_most), kRho);
  }
  return sigmas;
}

NoiseSchedule read_sigma_schedule(ConfigReader& config) {
  NoiseSchedule schedule = read_noise_schedule(config, {"linspace"});
  // A signal of 0 would be infinite noise: diffusers puts the least float16 in its place.
  if (schedule.zero_terminal_snr) schedule.alphas_cumprod.back() = 0x1p-24F;
  const float most = schedule.sigma(schedule.train_timesteps() - 1);
  if (!std::isfinite(most * most)) {
    config.refuse(config.has("trained_betas") ? "trained_betas" : "beta_end",
                  "with it the last timestep has more noise than float32 can count");
  }
  return schedule;
}

SigmaSpacing read_sigma_spacing(ConfigReader& config) {
  if (config.boolean("use_beta_sigmas", false)) {
    config.refuse("use_beta_sigmas", "it is not supported: choose other sigmas, as karras");
  }
  const bool karras = config.boolean("use_karras_sigmas", false);
  const bool exponential = config.boolean("use_exponential_sigmas", false);
  if (karras && exponential) {
    config.refuse("use_karras_sigmas", "use_exponential_sigmas is true too, and only one may be");
  }
  if (karras) return SigmaSpacing::karras;
  return exponential ? SigmaSpacing::exponential : SigmaSpacing::timesteps;
}

}  // namespace pcpp
