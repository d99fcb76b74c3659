#include "schedulers/scheduler.h"

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/check.h"
#include "base/excerpt.h"
#include "base/log.h"
#include "io/config_reader.h"
#include "schedulers/ddim.h"
#include "schedulers/dpm_solver.h"
#include "schedulers/euler.h"
#include "schedulers/lcm.h"
#include "schedulers/pndm.h"
#include "schedulers/unipc.h"

namespace pcpp {
namespace {

std::optional<SchedulerKind> kind_of(std::string_view class_name, const nlohmann::json& object) {
  if (class_name == "DDIMScheduler") return SchedulerKind::ddim;
  if (class_name == "EulerDiscreteScheduler") return SchedulerKind::euler;
  if (class_name == "DPMSolverMultistepScheduler") {
    return object.value("algorithm_type", nlohmann::json()) == kNoisyDpmSolver
               ? SchedulerKind::dpmpp_2m_sde
               : SchedulerKind::dpmpp_2m;
  }
  if (class_name == "UniPCMultistepScheduler") return SchedulerKind::unipc;
  if (class_name == "PNDMScheduler") return SchedulerKind::pndm;
  if (class_name == "EulerAncestralDiscreteScheduler") return SchedulerKind::euler_ancestral;
  if (class_name == "LCMScheduler") return SchedulerKind::lcm;
  return std::nullopt;
}

// What draws, where nobody chooses, in place of a class that is not built in: of those that
// diffusers lets take its place, the nearest. And in place of PNDM, whose sums of four predictions
// magnify what stale rows cost.
std::optional<SchedulerKind> stand_in_for(std::string_view class_name) {
  if (class_name == "PNDMScheduler") return SchedulerKind::ddim;
  for (const std::string_view first_order : {"HeunDiscreteScheduler", "LMSDiscreteScheduler"}) {
    if (class_name == first_order) return SchedulerKind::euler;
  }
  for (const std::string_view exponential :
       {"DEISMultistepScheduler", "DPMSolverSinglestepScheduler"}) {
    if (class_name == exponential) return SchedulerKind::dpmpp_2m;
  }
  return std::nullopt;
}

// diffusers notes in memory, and rarely in a file, which values were only a class's defaults.
void drop_defaults(nlohmann::json& object, const std::string& source) {
  const std::vector<std::string> keys =
      ConfigReader(object, source).texts("_use_default_values", {});
  for (const std::string& key : keys) object.erase(key);
}

void mend_outdated(nlohmann::json& object, bool own_class) {
  if (own_class || object.contains("steps_offset")) object["steps_offset"] = 1;
  if (own_class || object.value("clip_sample", nlohmann::json()) == true) {
    object["clip_sample"] = false;
  }
}

// What a PNDM file means by leaving these out: PNDM never clips, and ends at its first noise level.
void state_defaults_of_pndm(nlohmann::json& object) {
  object.emplace("clip_sample", false);
  object.emplace("set_alpha_to_one", false);
}

// Of files of other classes, which seldom say it: PNDM's Runge-Kutta steps are not there.
void state_steps_of_pndm(nlohmann::json& object) { object.emplace("skip_prk_steps", true); }

// Writes what a request asks for over what the file says.
void take_choice(nlohmann::json& object, SchedulerKind kind, const SchedulerChoice& choice) {
  if (choice.kind == SchedulerKind::dpmpp_2m) object["algorithm_type"] = kDpmSolver;
  if (choice.kind == SchedulerKind::dpmpp_2m_sde) object["algorithm_type"] = kNoisyDpmSolver;
  check<ConfigError>(!choice.timestep_spacing || kind != SchedulerKind::lcm,
                     "the lcm scheduler visits the timesteps of its training: leave "
                     "timestep_spacing out, or choose another scheduler");
  if (choice.timestep_spacing) object["timestep_spacing"] = name_of(*choice.timestep_spacing);
  if (choice.sigmas) {
    check<ConfigError>(kind == SchedulerKind::euler || kind == SchedulerKind::dpmpp_2m ||
                           kind == SchedulerKind::dpmpp_2m_sde || kind == SchedulerKind::unipc,
                       "the {} scheduler visits the training's own noise levels: leave sigmas "
                       "out, or choose scheduler euler, dpmpp_2m, dpmpp_2m_sde or unipc",
                       name_of(kind));
    object["use_karras_sigmas"] = choice.sigmas == SigmaSpacing::karras;
    object["use_exponential_sigmas"] = choice.sigmas == SigmaSpacing::exponential;
    object["use_beta_sigmas"] = false;
  }
}

std::unique_ptr<Scheduler> read_scheduler(SchedulerKind kind, ConfigReader& config) {
  switch (kind) {
    case SchedulerKind::ddim:
      return read_ddim(config);
    case SchedulerKind::euler:
      return read_euler(config);
    case SchedulerKind::dpmpp_2m:
    case SchedulerKind::dpmpp_2m_sde:
      return read_dpm_solver(config);
    case SchedulerKind::unipc:
      return read_unipc(config);
    case SchedulerKind::pndm:
      return read_pndm(config);
    case SchedulerKind::euler_ancestral:
      return read_euler_ancestral(config);
    case SchedulerKind::lcm:
      break;
  }
  return read_lcm(config);
}

// Keys of the schedulers that diffusers calls compatible with these, and of TCD: folders carry them
// along when their scheduler was changed. And of diffusers' first releases, which no other reads.
void ignore_keys_of_other_schedulers(ConfigReader& config) {
  config.ignore({"algorithm_type",
                 "clip_sample",
                 "clip_sample_range",
                 "disable_corrector",
                 "dynamic_thresholding_ratio",
                 "euler_at_final",
                 "final_sigmas_type",
                 "flow_shift",
                 "interpolation_type",
                 "lambda_min_clipped",
                 "lower_order_final",
                 "noise_sampler_seed",
                 "original_inference_steps",
                 "predict_x0",
                 "rho",
                 "sample_max_value",
                 "set_alpha_to_one",
                 "shift_terminal",
                 "sigma_data",
                 "sigma_max",
                 "sigma_min",
                 "sigma_schedule",
                 "skip_prk_steps",
                 "solver_order",
                 "solver_p",
                 "solver_type",
                 "tensor_format",
                 "thresholding",
                 "time_shift_type",
                 "timestep_scaling",
                 "timestep_type",
                 "timestep_values",
                 "use_beta_sigmas",
                 "use_dynamic_shifting",
                 "use_exponential_sigmas",
                 "use_flow_sigmas",
                 "use_karras_sigmas",
                 "use_lu_lambdas",
                 "variance_type"});
}

}  // namespace

Scheduler::~Scheduler() = default;

at::Tensor Scheduler::scale_input(const at::Tensor& sample, int step) const {
  static_cast<void>(timesteps().at(static_cast<std::size_t>(step)));
  return sample;
}

std::unique_ptr<Scheduler> make_scheduler(nlohmann::json object, const std::string& source,
                                          const SchedulerChoice& choice, OutdatedValues outdated) {
  drop_defaults(object, source);
  const std::optional<std::string> class_name =
      ConfigReader(object, source).optional_text("_class_name");
  const std::optional<SchedulerKind> own_kind =
      class_name ? kind_of(*class_name, object) : choice.kind;
  const std::optional<SchedulerKind> stand_in =
      !choice.kind && class_name ? stand_in_for(*class_name) : std::nullopt;
  std::optional<SchedulerKind> kind = choice.kind ? choice.kind : own_kind;
  if (stand_in) {
    kind = stand_in;
    if (kind == SchedulerKind::ddim) state_defaults_of_pndm(object);
    log().warn("{}: {} draws in place of {}, on its noise schedule: choose a scheduler for another",
               source, name_of(*kind), excerpt(*class_name));
  }
  check<ConfigError>(
      kind.has_value(),
      "{}: _class_name is {}, which is not supported: choose scheduler ddim, euler, "
      "dpmpp_2m, unipc, pndm, euler_ancestral, dpmpp_2m_sde or lcm to use one with this "
      "model",
      source, excerpt(class_name.value_or("missing")));
  const bool own_class = kind == own_kind;
  if (kind == SchedulerKind::ddim && !own_class && !object.contains("clip_sample")) {
    log().warn(
        "{}: it is {}'s and does not say clip_sample: DDIM clips, as diffusers' does, which "
        "turns pictures grey where the latents are not meant for it: write \"clip_sample\": "
        "false there",
        source, excerpt(class_name.value_or("no class")));
  }
  if (outdated == OutdatedValues::mend) mend_outdated(object, own_class || stand_in);
  if (kind == SchedulerKind::pndm && !own_class) state_steps_of_pndm(object);
  take_choice(object, *kind, choice);

  ConfigReader config(std::move(object), source);
  std::unique_ptr<Scheduler> scheduler;
  try {
    scheduler = read_scheduler(*kind, config);
  } catch (const CheckpointError& error) {
    if (own_class || !choice.kind) throw;
    fail<ConfigError>("the {} scheduler does not fit the model: {}: choose another", name_of(*kind),
                      error.what());
  }
  config.require_equal("predict_epsilon", true, true);
  if (own_class) {
    ignore_keys_of_other_schedulers(config);
    config.finish();
  }
  return scheduler;
}

}  // namespace pcpp
