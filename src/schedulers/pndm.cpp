#include "schedulers/pndm.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include "base/check.h"
#include "schedulers/noise_schedule.h"
#include "schedulers/predicted_image.h"

namespace pcpp {
namespace {

struct PndmConfig {
  NoiseSchedule schedule;
  Prediction prediction = Prediction::epsilon;  // or v_prediction
  float final_alpha = 1;                        // what stands for the timestep before the first
};

class Pndm : public Scheduler {
 public:
  explicit Pndm(PndmConfig config) : config_(std::move(config)) {}

  // One step more than asked for, where that is more than one: the second repeats the first.
  void set_steps(int steps, int skipped) override;
  const std::vector<double>& timesteps() const override { return timesteps_; }
  at::Tensor noised(const at::Tensor& image, const at::Tensor& noise, int step) const override;
  at::Tensor step(const at::Tensor& prediction, int step, const at::Tensor& sample,
                  SolverState& state) const override;
  SchedulerKind kind() const override { return SchedulerKind::pndm; }

 private:
  struct Move {
    Shares now;        // in the sample that is moved
    float sample = 0;  // its weight, and that of the noise in it
    float noise = 0;
  };

  Move move_between(std::int64_t timestep, std::int64_t next) const;
  at::Tensor moved(const Move& move, const at::Tensor& sample, const at::Tensor& prediction) const;

  PndmConfig config_;
  std::vector<double> timesteps_;
  std::vector<Move> moves_;
};

// Equation 9.
Pndm::Move Pndm::move_between(std::int64_t timestep, std::int64_t next) const {
  const std::vector<float>& alphas = config_.schedule.alphas_cumprod;
  const float alpha = alphas[static_cast<std::size_t>(timestep)];
  const float next_alpha = next >= 0 ? alphas[static_cast<std::size_t>(next)] : config_.final_alpha;
  const float divisor =
      alpha * std::sqrt(1 - next_alpha) + std::sqrt(alpha * (1 - alpha) * next_alpha);
  return {{std::sqrt(alpha), std::sqrt(1 - alpha)},
          std::sqrt(next_alpha / alpha),
          (next_alpha - alpha) / divisor};
}

void Pndm::set_steps(int steps, int skipped) {
  std::vector<double> timesteps = spaced_timesteps(config_.schedule, steps);
  skip_first(timesteps, skipped);
  if (timesteps.size() > 1) timesteps.insert(timesteps.begin() + 1, timesteps[1]);
  const std::int64_t count = config_.schedule.train_timesteps();
  const std::int64_t distance = count / steps;
  std::vector<Move> moves;
  for (std::size_t i = 0; i < timesteps.size(); ++i) {
    timesteps[i] = std::nearbyint(timesteps[i]);
    // The distance in training timesteps, whatever the spacing: diffusers' rule. The second step
    // makes the first one's way again.
    const std::int64_t from = static_cast<std::int64_t>(timesteps[i]) + (i == 1 ? distance : 0);
    check_trained(config_.schedule, steps, static_cast<double>(from));
    moves.push_back(move_between(from, from - distance));
  }
  timesteps_ = std::move(timesteps);
  moves_ = std::move(moves);
}

at::Tensor Pndm::noised(const at::Tensor& image, const at::Tensor& noise, int step) const {
  const auto timestep = static_cast<std::size_t>(timesteps_.at(static_cast<std::size_t>(step)));
  const float alpha = config_.schedule.alphas_cumprod[timestep];
  return mixed({std::sqrt(alpha), std::sqrt(1 - alpha)}, image, noise);
}

at::Tensor Pndm::moved(const Move& move, const at::Tensor& sample,
                       const at::Tensor& prediction) const {
  const bool is_noise = config_.prediction == Prediction::epsilon;
  const at::Tensor noise =
      is_noise ? prediction : move.now.image * prediction + move.now.noise * sample;
  return move.sample * sample - move.noise * noise;
}

at::Tensor Pndm::step(const at::Tensor& prediction, int step, const at::Tensor& sample,
                      SolverState& state) const {
  const Move& move = moves_.at(static_cast<std::size_t>(step));
  std::vector<at::Tensor>& last = state.predictions;
  if (step == 1 && !last.empty() && state.sample.defined()) {
    return moved(move, std::exchange(state.sample, at::Tensor()), (prediction + last.front()) / 2);
  }
  if (last.empty()) state.sample = sample;
  last.insert(last.begin(), prediction);
  if (last.size() > 4) last.pop_back();
  at::Tensor sum;  // Adams and Bashforth's
  switch (last.size()) {
    case 1:
      sum = prediction;
      break;
    case 2:
      sum = (3 * last[0] - last[1]) / 2;
      break;
    case 3:
      sum = (23 * last[0] - 16 * last[1] + 5 * last[2]) / 12;
      break;
    default:
      sum = (1.0 / 24) * (55 * last[0] - 59 * last[1] + 37 * last[2] - 9 * last[3]);
  }
  return moved(move, sample, sum);
}

}  // namespace

std::unique_ptr<Scheduler> read_pndm(ConfigReader& config) {
  PndmConfig read;
  read.schedule = read_noise_schedule(config, {"leading"});
  if (read.schedule.zero_terminal_snr) {
    config.refuse("rescale_betas_zero_snr", "PNDM does not know it: false is supported");
  }
  read.prediction =
      prediction_named(config.one_of("prediction_type", {"epsilon", "v_prediction"}, "epsilon"));
  config.require_equal("skip_prk_steps", true, false);
  if (!config.boolean("set_alpha_to_one", false)) {
    read.final_alpha = read.schedule.alphas_cumprod.front();
  }
  return std::make_unique<Pndm>(std::move(read));
}

}  // namespace pcpp
