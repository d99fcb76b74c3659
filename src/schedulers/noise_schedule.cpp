#include "schedulers/noise_schedule.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/linspace.h>
#include <ATen/ops/tensor.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numbers>

#include "base/check.h"

namespace pcpp {
namespace {

constexpr std::int64_t kMostTrainTimesteps = 1'000'000;

// Nichol and Dhariwal's cosine schedule (arXiv 2102.09672, equation 17), betas cut at 0.999.
at::Tensor cosine_betas(std::int64_t count) {
  const auto alpha_bar = [](double t) {
    const double cosine = std::cos((t + 0.008) / 1.008 * std::numbers::pi / 2);
    return cosine * cosine;
  };
  std::vector<float> betas;
  betas.reserve(static_cast<std::size_t>(count));
  const auto whole = static_cast<double>(count);
  for (std::int64_t i = 0; i < count; ++i) {
    const double start = static_cast<double>(i) / whole;
    const double end = static_cast<double>(i + 1) / whole;
    betas.push_back(static_cast<float>(std::min(1 - alpha_bar(end) / alpha_bar(start), 0.999)));
  }
  return at::tensor(betas, at::kFloat);
}

at::Tensor trained_betas(ConfigReader& config, std::int64_t count) {
  const std::vector<double> values = config.numbers("trained_betas");
  if (static_cast<std::int64_t>(values.size()) != count) {
    config.refuse("trained_betas",
                  fmt::format("it must hold num_train_timesteps ({}) values", count));
  }
  const std::vector<float> betas(values.begin(), values.end());
  return at::tensor(betas, at::kFloat);
}

at::Tensor read_betas(ConfigReader& config, std::int64_t count, const ScheduleDefaults& defaults) {
  const double start = config.number("beta_start", defaults.beta_start);
  const double end = config.number("beta_end", defaults.beta_end);
  const std::string kind = config.one_of(
      "beta_schedule", {"linear", "scaled_linear", "squaredcos_cap_v2"}, defaults.beta_schedule);
  if (!config.value("trained_betas").is_null()) return trained_betas(config, count);
  if (kind == "squaredcos_cap_v2") return cosine_betas(count);
  for (const char* key : {"beta_start", "beta_end"}) {
    const double beta = key == std::string_view("beta_start") ? start : end;
    if (!(beta > 0 && beta < 1)) config.refuse(key, "a beta must lie between 0 and 1");
  }
  if (kind == "linear") return at::linspace(start, end, count, at::kFloat);
  return at::linspace(std::pow(start, 0.5), std::pow(end, 0.5), count, at::kFloat).pow(2);
}

// Algorithm 1 of arXiv 2305.08891: shifts and scales the square roots so that the last is 0.
at::Tensor rescaled_to_zero_snr(const at::Tensor& betas) {
  at::Tensor roots = (1.0 - betas).cumprod(0).sqrt();
  const at::Tensor first = roots[0].clone();
  const at::Tensor last = roots[-1].clone();
  roots -= last;
  roots *= first / (first - last);
  const at::Tensor products = roots.pow(2);
  const at::Tensor ratios = products.slice(0, 1) / products.slice(0, 0, -1);
  return 1 - at::cat({products.slice(0, 0, 1), ratios});
}

TimestepSpacing spacing_named(std::string_view name) {
  if (name == "leading") return TimestepSpacing::leading;
  return name == "linspace" ? TimestepSpacing::linspace : TimestepSpacing::trailing;
}

}  // namespace

Prediction prediction_named(std::string_view name) {
  if (name == "epsilon") return Prediction::epsilon;
  return name == "v_prediction" ? Prediction::v_prediction : Prediction::sample;
}

float NoiseSchedule::sigma(std::int64_t timestep) const {
  const float alpha = alphas_cumprod.at(static_cast<std::size_t>(timestep));
  return std::sqrt((1 - alpha) / alpha);
}

NoiseSchedule read_noise_schedule(ConfigReader& config, const ScheduleDefaults& defaults) {
  const std::int64_t count = config.integer("num_train_timesteps", 1000);
  if (count < 2 || count > kMostTrainTimesteps) {
    config.refuse("num_train_timesteps",
                  fmt::format("it must lie in [2, {}]", kMostTrainTimesteps));
  }
  NoiseSchedule schedule;
  schedule.spacing = spacing_named(config.one_of(
      "timestep_spacing", {"leading", "linspace", "trailing"}, defaults.timestep_spacing));
  schedule.steps_offset = config.integer("steps_offset", 0);
  if (schedule.steps_offset < 0 || schedule.steps_offset >= count) {
    config.refuse("steps_offset",
                  fmt::format("it must lie in [0, num_train_timesteps), here [0, {})", count));
  }
  schedule.zero_terminal_snr = config.boolean("rescale_betas_zero_snr", false);

  at::Tensor betas = read_betas(config, count, defaults);
  if (schedule.zero_terminal_snr) betas = rescaled_to_zero_snr(betas);
  const at::Tensor products = (1.0 - betas).cumprod(0);
  schedule.alphas_cumprod.assign(products.const_data_ptr<float>(),
                                 products.const_data_ptr<float>() + count);

  // Written so that NaN fails too.
  const std::vector<float>& alphas = schedule.alphas_cumprod;
  const bool falls = std::adjacent_find(alphas.begin(), alphas.end(),
                                        [](float a, float b) { return !(b < a); }) == alphas.end();
  const bool ends = schedule.zero_terminal_snr || alphas.back() > 0;
  if (!(falls && ends && alphas.front() < 1)) {
    config.refuse(config.has("trained_betas") ? "trained_betas" : "beta_end",
                  "betas must leave less signal at each timestep, and some at the last");
  }
  return schedule;
}

std::vector<double> spaced_timesteps(const NoiseSchedule& schedule, int steps) {
  const std::int64_t count = schedule.train_timesteps();
  check<ConfigError>(steps >= 1 && steps <= count,
                     "steps is {}; it must lie in [1, {}], the timesteps that the model was "
                     "trained on",
                     steps, count);
  if (schedule.spacing == TimestepSpacing::trailing) {
    return trailing_timesteps(static_cast<double>(count), static_cast<double>(count) / steps,
                              steps);
  }
  std::vector<double> result;
  if (schedule.spacing == TimestepSpacing::linspace) {
    result = even_values(0, static_cast<double>(count - 1), steps);
  } else {
    const std::int64_t distance = count / steps;
    for (std::int64_t i = 0; i < steps; ++i) {
      result.push_back(static_cast<double>(i * distance + schedule.steps_offset));
    }
  }
  std::reverse(result.begin(), result.end());
  return result;
}

void check_trained(const NoiseSchedule& schedule, int steps, double timestep) {
  const std::int64_t last = schedule.train_timesteps() - 1;
  check<ConfigError>(
      timestep <= static_cast<double>(last),
      "steps is {}; with the model's steps_offset of {} that visits timestep {}, and "
      "it was trained on 0 to {} only: take fewer steps",
      steps, schedule.steps_offset, timestep, last);
}

std::vector<double> trailing_timesteps(double from, double distance, int most) {
  // As numpy.arange(from, 0, -distance), whose later values are multiples of the rounded first
  // difference: where a value lies half way, this decides how it is rounded.
  const double first_difference = (from - distance) - from;
  std::vector<double> result;
  for (int i = 0; i < most; ++i) {
    const double timestep = std::nearbyint(from + i * first_difference) - 1;
    if (timestep < 0) break;
    result.push_back(timestep);
  }
  return result;
}

std::vector<double> even_values(double first, double last, int count) {
  std::vector<double> result(static_cast<std::size_t>(count), first);
  if (count == 1) return result;
  const double difference = (last - first) / (count - 1);
  for (int i = 1; i < count - 1; ++i) {
    result[static_cast<std::size_t>(i)] = i * difference + first;
  }
  result.back() = last;
  return result;
}

}  // namespace pcpp
