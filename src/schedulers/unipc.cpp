#include "schedulers/unipc.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <iterator>
#include <optional>
#include <utility>
#include <vector>

#include "base/check.h"
#include "schedulers/log_snr.h"
#include "schedulers/noise_schedule.h"
#include "schedulers/predicted_image.h"
#include "schedulers/sigmas.h"

namespace pcpp {
namespace {

constexpr std::int64_t kMostOrder = 3;

struct UniPcConfig {
  NoiseSchedule schedule;
  Prediction prediction = Prediction::epsilon;
  ImageRange range;  // without a clip
  LevelChoice levels;
  int order = 2;
  bool is_first_variant = false;    // B(h) = h instead of e^h - 1
  bool ends_at_lower_order = true;  // no step is of a higher order than there are steps left
};

// Of one prediction or correction; the names are those of what they multiply.
struct Weights {
  float sample = 0;
  float predicted = 0;         // the image that the step begins with
  std::vector<float> changes;  // of earlier images from it, the latest first
  float correction = 0;        // of the image where the step ends from it
};

// Square, by elimination with the largest pivot.
std::vector<float> solved(std::vector<std::vector<double>> rows) {
  const std::size_t count = rows.size();
  for (std::size_t i = 0; i < count; ++i) {
    const auto pivot = std::max_element(
        rows.begin() + static_cast<std::ptrdiff_t>(i), rows.end(),
        [i](const auto& a, const auto& b) { return std::abs(a[i]) < std::abs(b[i]); });
    std::swap(rows[i], *pivot);
    for (std::size_t j = 0; j < count; ++j) {
      if (j == i) continue;
      const double factor = rows[j][i] / rows[i][i];
      for (std::size_t k = i; k <= count; ++k) rows[j][k] -= factor * rows[i][k];
    }
  }
  std::vector<float> values;
  for (std::size_t i = 0; i < count; ++i) {
    values.push_back(static_cast<float>(rows[i][count] / rows[i][i]));
  }
  return values;
}

class UniPc : public Scheduler {
 public:
  explicit UniPc(UniPcConfig config) : config_(std::move(config)), training_(config_.schedule) {}

  void set_steps(int steps, int skipped) override;
  const std::vector<double>& timesteps() const override { return timesteps_; }
  at::Tensor noised(const at::Tensor& image, const at::Tensor& noise, int step) const override {
    return mixed(level_of(step).shares(), image, noise);
  }
  at::Tensor step(const at::Tensor& prediction, int step, const at::Tensor& sample,
                  SolverState& state) const override;
  SchedulerKind kind() const override { return SchedulerKind::unipc; }

 private:
  std::size_t index_of(int step) const {
    static_cast<void>(timesteps_.at(static_cast<std::size_t>(step)));
    return skipped_ + static_cast<std::size_t>(step);
  }
  const NoiseLevel& level_of(int step) const { return levels_[index_of(step)]; }
  std::size_t order_at(std::size_t index, std::size_t known_images) const;
  // From level `index` on, by `order` images; `corrects`: and by that where the step ends.
  Weights weights(std::size_t index, std::size_t order, bool corrects) const;
  static at::Tensor moved(const Weights& weights, const at::Tensor& sample,
                          const std::vector<at::Tensor>& images);

  UniPcConfig config_;
  TrainingSigmas training_;
  std::vector<double> timesteps_;
  std::size_t skipped_ = 0;
  std::vector<NoiseLevel> levels_;  // of the whole run, and where it ends
};

void UniPc::set_steps(int steps, int skipped) {
  LevelRun run = planned_levels(config_.schedule, training_, config_.levels,
                                config_.schedule.train_timesteps(), steps, skipped);
  std::vector<NoiseLevel> levels;
  for (const double sigma : run.sigmas) {
    levels.emplace_back(static_cast<float>(sigma));
    const bool falls =
        levels.size() == 1 || levels.back().lambda > std::prev(levels.end(), 2)->lambda;
    check<ConfigError>(falls, "steps is {}; that visits the noise level {} twice: take fewer steps",
                       steps, sigma);
  }
  timesteps_ = std::move(run.timesteps);
  skipped_ = static_cast<std::size_t>(skipped);
  levels_ = std::move(levels);
}

std::size_t UniPc::order_at(std::size_t index, std::size_t known_images) const {
  if (levels_[index + 1].noise == 0) return 1;  // infinitely far
  auto most = static_cast<std::size_t>(config_.order);
  if (config_.ends_at_lower_order) most = std::min(most, levels_.size() - 1 - index);
  return std::min(most, known_images);
}

// As diffusers, in float32.
Weights UniPc::weights(std::size_t index, std::size_t order, bool corrects) const {
  const NoiseLevel& from = levels_[index];
  const NoiseLevel& to = levels_[index + 1];
  const float length = to.lambda - from.lambda;
  const float decay = std::expm1(-length);
  const float scale = config_.is_first_variant ? -length : decay;
  std::vector<float> ratios;  // of the earlier levels' distances, and of its own end's
  for (std::size_t i = 1; i < order; ++i) {
    ratios.push_back((levels_[index - i].lambda - from.lambda) / length);
  }
  ratios.push_back(1);

  std::vector<std::vector<double>> rows;
  float phi = decay / -length - 1;
  float factorial = 1;
  for (std::size_t i = 0; i < order; ++i) {
    std::vector<double>& row = rows.emplace_back();
    for (const float ratio : ratios) {
      row.push_back(std::pow(ratio, static_cast<float>(i)));
    }
    row.push_back(phi * factorial / scale);
    factorial *= static_cast<float>(i + 2);
    phi = phi / -length - 1 / factorial;
  }
  if (!corrects) {  // what the step's end would add is not known
    rows.pop_back();
    for (std::vector<double>& row : rows) row.erase(row.end() - 2);
  }
  // The simplified coefficients of the paper's section 3.3.
  std::vector<float> shares = rows.size() == 1 ? std::vector<float>{0.5F} : solved(std::move(rows));

  Weights weights{to.noise / from.noise, -to.image * decay, {}, 0};
  for (std::size_t i = 0; i + 1 < order; ++i) {
    weights.changes.push_back(-to.image * scale * shares[i] / ratios[i]);
  }
  if (corrects) weights.correction = -to.image * scale * shares.back();
  return weights;
}

at::Tensor UniPc::moved(const Weights& weights, const at::Tensor& sample,
                        const std::vector<at::Tensor>& images) {
  at::Tensor result = weights.sample * sample + weights.predicted * images.front();
  for (std::size_t i = 0; i < weights.changes.size(); ++i) {
    result = result + weights.changes[i] * (images[i + 1] - images.front());
  }
  return result;
}

at::Tensor UniPc::step(const at::Tensor& prediction, int step, const at::Tensor& sample,
                       SolverState& state) const {
  const std::size_t index = index_of(step);
  std::vector<at::Tensor>& images = state.predictions;
  const at::Tensor image = kept_in(
      config_.range, image_of(config_.prediction, levels_[index].shares(), prediction, sample));
  at::Tensor corrected = sample;
  if (index > 0 && state.sample.defined() && !images.empty()) {
    const Weights last = weights(index - 1, order_at(index - 1, images.size()), true);
    corrected = moved(last, state.sample, images) + last.correction * (image - images.front());
  }
  images.insert(images.begin(), image);
  if (images.size() > static_cast<std::size_t>(config_.order)) images.pop_back();
  state.sample = corrected;
  return moved(weights(index, order_at(index, images.size()), false), corrected, images);
}

void require_for_levels(ConfigReader& config, SigmaSpacing spacing) {
  for (const char* key : {"sigma_min", "sigma_max"}) {
    if (spacing != SigmaSpacing::timesteps) config.require_equal(key, nullptr);
  }
  config.ignore({"sigma_min", "sigma_max"});
}

}  // namespace

std::unique_ptr<Scheduler> read_unipc(ConfigReader& config) {
  UniPcConfig read;
  read.schedule = read_sigma_schedule(config);
  read.prediction = prediction_named(
      config.one_of("prediction_type", {"epsilon", "sample", "v_prediction"}, "epsilon"));
  read.range.thresholding = read_thresholding(config);
  const std::int64_t order = config.integer("solver_order", 2);
  if (order < 1 || order > kMostOrder) {
    config.refuse("solver_order", fmt::format("1 to {} are supported", kMostOrder));
  }
  read.order = static_cast<int>(order);
  config.require_equal("predict_x0", true, true);
  config.require_equal("solver_p", nullptr);
  config.require_equal("disable_corrector", nlohmann::json::array());
  config.require_equal("shift_terminal", nullptr);
  for (const char* key : {"use_flow_sigmas", "use_dynamic_shifting"}) {
    config.require_equal(key, false, false);
  }
  // The solver types of DPM-Solver and DEIS stand for bh2, as in diffusers.
  read.is_first_variant =
      config.one_of("solver_type", {"bh1", "bh2", "midpoint", "heun", "logrho"}, "bh2") == "bh1";
  read.ends_at_lower_order = config.boolean("lower_order_final", true);
  read.levels.spacing = read_sigma_spacing(config);
  read.levels.rounds_timesteps = read.levels.spacing == SigmaSpacing::karras;
  read.levels.ends_at_zero =
      config.one_of("final_sigmas_type", {"zero", "sigma_min"}, "zero") == "zero";
  if (!read.levels.ends_at_zero && read.levels.spacing != SigmaSpacing::timesteps) {
    config.refuse("final_sigmas_type",
                  "with karras or exponential sigmas only \"zero\" is supported, whose last step "
                  "has a length");
  }
  require_for_levels(config, read.levels.spacing);
  return std::make_unique<UniPc>(std::move(read));
}

}  // namespace pcpp
