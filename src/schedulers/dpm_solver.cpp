#include "schedulers/dpm_solver.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <utility>

#include "base/check.h"
#include "schedulers/log_snr.h"
#include "schedulers/noise_schedule.h"
#include "schedulers/predicted_image.h"
#include "schedulers/sigmas.h"

namespace pcpp {
namespace {

// How a step weighs the change of the predicted image since the last one.
enum class Correction { midpoint, heun };

struct DpmSolverConfig {
  NoiseSchedule schedule;
  Prediction prediction = Prediction::epsilon;
  ImageRange range;  // without a clip
  Correction correction = Correction::midpoint;
  bool adds_noise = false;
  LevelChoice levels;
  // No timestep with a lower log(signal / noise) is visited.
  double least_lambda = -std::numeric_limits<double>::infinity();
  bool ends_at_first_order = false;
  bool short_runs_end_at_first_order = true;
};

// Runs of fewer steps are short.
constexpr std::size_t kLongRun = 15;

class DpmSolver : public Scheduler {
 public:
  explicit DpmSolver(DpmSolverConfig config)
      : config_(std::move(config)), training_(config_.schedule) {}

  void set_steps(int steps, int skipped) override;
  const std::vector<double>& timesteps() const override { return timesteps_; }
  at::Tensor noised(const at::Tensor& image, const at::Tensor& noise, int step) const override;
  at::Tensor step(const at::Tensor& prediction, int step, const at::Tensor& sample,
                  SolverState& state) const override;
  int noisy_steps() const override;
  SchedulerKind kind() const override {
    return config_.adds_noise ? SchedulerKind::dpmpp_2m_sde : SchedulerKind::dpmpp_2m;
  }

 private:
  // One step, from a sample with `now`; the names are those of what they multiply. The images of
  // two steps enter one.
  struct Weights {
    Shares now;
    float sample = 0;
    float predicted = 0;
    float change = 0;         // of the predicted image since the last step, over
    float inverse_ratio = 0;  // the last step's length over this one's
    float noise = 0;
    bool first_order = true;
  };

  std::int64_t visited_timesteps() const;
  bool first_order_at(std::size_t step, std::size_t steps) const;

  DpmSolverConfig config_;
  TrainingSigmas training_;
  std::vector<double> timesteps_;
  std::vector<Weights> weights_;
};

// Those from the first of the training that are not too noisy.
std::int64_t DpmSolver::visited_timesteps() const {
  const std::vector<float>& alphas = config_.schedule.alphas_cumprod;
  const auto enough = [&](float alpha) {
    return std::log(std::sqrt(alpha)) - std::log(std::sqrt(1 - alpha)) >= config_.least_lambda;
  };
  return std::partition_point(alphas.begin(), alphas.end(), enough) - alphas.begin();
}

bool DpmSolver::first_order_at(std::size_t step, std::size_t steps) const {
  if (step == 0) return true;
  const bool is_short = config_.short_runs_end_at_first_order && steps < kLongRun;
  return step + 1 == steps &&
         (config_.levels.ends_at_zero || config_.ends_at_first_order || is_short);
}

void DpmSolver::set_steps(int steps, int skipped) {
  const std::int64_t visited = visited_timesteps();
  check<ConfigError>(visited > 1, "the model's lambda_min_clipped of {} leaves no timesteps",
                     config_.least_lambda);
  LevelRun run =
      planned_levels(config_.schedule, training_, config_.levels, visited, steps, skipped);
  const std::vector<double>& sigmas = run.sigmas;
  const std::size_t count = sigmas.size() - 1;

  std::vector<Weights> weights;
  for (auto i = static_cast<std::size_t>(skipped); i < count; ++i) {
    const NoiseLevel from(static_cast<float>(sigmas[i]));
    const NoiseLevel to(static_cast<float>(sigmas[i + 1]));
    const float length = to.lambda - from.lambda;
    // A run with karras or exponential sigmas that ends at the least noise is there a step before.
    const bool stays = i + 1 == count && length == 0;
    check<ConfigError>(length > 0 || stays,
                       "steps is {}; that visits the noise level {} twice: take fewer steps", steps,
                       sigmas[i]);
    const float span = config_.adds_noise ? 2 * length : length;
    const float decay = std::exp(-span) - 1;
    Weights step{.now = from.shares(),
                 .sample = to.noise / from.noise,
                 .predicted = to.image * decay,
                 .first_order = stays || first_order_at(i, count)};
    if (config_.adds_noise) {
      step.sample *= std::exp(-length);
      step.noise = to.noise * std::sqrt(-decay);
    }
    if (!step.first_order) {
      const NoiseLevel before(static_cast<float>(sigmas[i - 1]));
      step.inverse_ratio = 1 / ((from.lambda - before.lambda) / length);
      step.change = config_.correction == Correction::midpoint ? -0.5F * step.predicted
                                                               : to.image * (decay / span + 1);
    }
    weights.push_back(step);
  }
  timesteps_ = std::move(run.timesteps);
  weights_ = std::move(weights);
}

at::Tensor DpmSolver::noised(const at::Tensor& image, const at::Tensor& noise, int step) const {
  return mixed(weights_.at(static_cast<std::size_t>(step)).now, image, noise);
}

at::Tensor DpmSolver::step(const at::Tensor& prediction, int step, const at::Tensor& sample,
                           SolverState& state) const {
  const Weights& weights = weights_.at(static_cast<std::size_t>(step));
  const at::Tensor image =
      kept_in(config_.range, image_of(config_.prediction, weights.now, prediction, sample));
  const std::vector<at::Tensor> last = std::exchange(state.predictions, {image});
  at::Tensor next = weights.sample * sample - weights.predicted * image;
  if (!weights.first_order && !last.empty()) {
    next = next + weights.change * (weights.inverse_ratio * (image - last.front()));
  }
  return weights.noise > 0 ? next + weights.noise * state.noises[step] : next;
}

// The last one does where a run ends above the least noise.
int DpmSolver::noisy_steps() const {
  if (!config_.adds_noise || weights_.empty()) return 0;
  return static_cast<int>(std::ssize(weights_)) - (weights_.back().noise > 0 ? 0 : 1);
}

double read_least_lambda(ConfigReader& config) {
  const double nothing = -std::numeric_limits<double>::infinity();
  // Python's json writes infinities as words (read_json_file).
  if (config.value("lambda_min_clipped") == "-Infinity") return nothing;
  return config.number("lambda_min_clipped", nothing);
}

Correction read_correction(ConfigReader& config) {
  // The solver types of DEIS and UniPC stand for midpoint, as in diffusers.
  return config.one_of("solver_type", {"midpoint", "heun", "logrho", "bh1", "bh2"}, "midpoint") ==
                 "heun"
             ? Correction::heun
             : Correction::midpoint;
}

}  // namespace

std::unique_ptr<Scheduler> read_dpm_solver(ConfigReader& config) {
  DpmSolverConfig read;
  read.schedule = read_sigma_schedule(config);
  read.prediction = prediction_named(
      config.one_of("prediction_type", {"epsilon", "sample", "v_prediction"}, "epsilon"));
  read.range.thresholding = read_thresholding(config);
  const std::string algorithm = config.text("algorithm_type", std::string(kDpmSolver));
  read.adds_noise = algorithm == kNoisyDpmSolver;
  if (!read.adds_noise && algorithm != kDpmSolver && algorithm != "deis") {
    config.refuse("algorithm_type",
                  "dpmsolver++, sde-dpmsolver++ and deis are supported: choose another scheduler, "
                  "as dpmpp_2m");
  }
  if (config.integer("solver_order", 2) != 2) {
    config.refuse("solver_order", "2 is supported: choose another scheduler, as euler");
  }
  for (const char* key : {"use_lu_lambdas", "use_flow_sigmas", "use_dynamic_shifting"}) {
    config.require_equal(key, false, false);
  }
  read.correction = read_correction(config);
  read.levels.spacing = read_sigma_spacing(config);
  read.levels.rounds_timesteps = read.levels.spacing == SigmaSpacing::karras &&
                                 config.text("beta_schedule", "linear") != "squaredcos_cap_v2";
  read.least_lambda = read_least_lambda(config);
  read.levels.ends_at_zero =
      config.one_of("final_sigmas_type", {"zero", "sigma_min"}, "zero") == "zero";
  read.ends_at_first_order = config.boolean("euler_at_final", false);
  read.short_runs_end_at_first_order = config.boolean("lower_order_final", true);
  return std::make_unique<DpmSolver>(std::move(read));
}

}  // namespace pcpp
