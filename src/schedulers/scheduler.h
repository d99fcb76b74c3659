// The schedulers: which timesteps a run visits, and how one noise prediction moves the latents.
#ifndef PCPP_SCHEDULERS_SCHEDULER_H_
#define PCPP_SCHEDULERS_SCHEDULER_H_

#include <ATen/core/Tensor.h>

#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/guided_step.h"
#include "pcpp/config.h"

namespace pcpp {

// What a run's steps read besides their arguments. A run begins with one without predictions, and a
// step with such a one is as the first of a run.
struct SolverState {
  // For multistep solvers, as many as they read: what was predicted (by DPM++ 2M and UniPC the
  // image), the latest first.
  std::vector<at::Tensor> predictions;
  at::Tensor sample;  // that the last step began with, for solvers that correct it
  // Standard normal, where the scheduler adds noise: [noisy_steps(), ...], noises[i] for step i.
  at::Tensor noises;
};

// Solvers of diffusers 0.42 (DDIM with eta 0, Euler with s_churn 0, ancestral Euler, DPM-Solver++
// of order 2 and its form with noise, UniPC, PNDM without Runge-Kutta steps, LCM), with its float32
// coefficients. After set_steps a scheduler does not change: every other member may be called from
// several threads at once, for any step, in any order.
class Scheduler {
 public:
  virtual ~Scheduler();

  // Plans a run of which the first `skipped` steps are not made: of timesteps() and of all that
  // counts steps they are left out, init_noise_sigma() alone is of the whole run. Replaces the plan
  // before it. Throws ConfigError where `steps` is below 1 or above the timesteps of the training,
  // where no step is left, or where the model's options leave no such run.
  virtual void set_steps(int steps, int skipped) = 0;
  void set_steps(int steps) { set_steps(steps, 0); }

  // What the U-Net is given, one a step, noisiest first; empty before set_steps. float32 values
  // with both Eulers, else whole numbers. One more than set_steps() was given with PNDM, whose
  // second step makes the first one's way again.
  virtual const std::vector<double>& timesteps() const = 0;

  // The factor that makes standard normal noise the first sample. After set_steps.
  virtual double init_noise_sigma() const { return 1; }

  // A sample of `image` before step `step`: with standard normal `noise` of the same shape, as much
  // as there is then. Both are float32 latents, on one device.
  virtual at::Tensor noised(const at::Tensor& image, const at::Tensor& noise, int step) const = 0;

  // What the U-Net is given in place of `sample` (float32, any shape and device) in step `step`,
  // counted from 0; may be `sample` itself, which it is of all that do not count noise to a whole
  // image.
  virtual at::Tensor scale_input(const at::Tensor& sample, int step) const;

  // How many steps add noise, from the first on: 0, or all that set_steps() planned but for a last
  // one that ends without noise.
  virtual int noisy_steps() const { return 0; }

  // The sample after step `step`, from the sample before it and the U-Net's (guided) prediction:
  // float32, of one shape and on one device. Neither is written; `state` is of the same run. A
  // step outside [0, timesteps().size()) throws std::out_of_range, here and in noised() and
  // scale_input().
  virtual at::Tensor step(const at::Tensor& prediction, int step, const at::Tensor& sample,
                          SolverState& state) const = 0;

  // The same as one multiplication each of sample and prediction, to rounding; absent where
  // predicted images are clipped and from solvers that read the state.
  virtual std::optional<LinearUpdate> linear_update(int /*step*/) const { return std::nullopt; }

  virtual SchedulerKind kind() const = 0;
};

// diffusers' StableDiffusionPipeline (SD 1.x and 2.x; SDXL's does not) mends a scheduler that it
// calls outdated when it loads a folder: any other steps_offset becomes 1, clip_sample true becomes
// false. `mend` does the same, also with ControlNets, where diffusers mends neither, and with
// masks, where it keeps clip_sample: so a model draws by one schedule whatever it is asked for.
enum class OutdatedValues { keep, mend };

// What a request asks for in place of what the model's file says; absent: as the file says.
struct SchedulerChoice {
  std::optional<SchedulerKind> kind = {};
  std::optional<TimestepSpacing> timestep_spacing = {};
  std::optional<SigmaSpacing> sigmas = {};
};

// Makes the scheduler that `object` (diffusers' scheduler_config.json; `source` names the file in
// errors) describes, or, where the choice's kind is another than the file's, that kind with the
// file's values as diffusers' from_config carries them over: what is written in the file and known
// to the kind; all else is the kind's own default, never the default of the file's class. A value
// that is written is mended before it is carried over, and a default of the kind is not mended
// then.
//
// Where no kind is given, classes that are not built in are drawn by one that is: Heun and LMS by
// Euler; DEIS and DPMSolverSinglestep by DPM++ 2M. And PNDM, which Stable Diffusion 1.x comes with,
// by DDIM: its sums of four predictions magnify what stale rows cost
// (benchmarks/results/README.md).
//
// PNDM chosen for another class's file makes no Runge-Kutta steps, unless the file says that they
// are not to be skipped, which is refused.
//
// DPM++ 2M and its form with noise share diffusers' class, and the file's algorithm_type tells them
// apart: where the other one is chosen, the file counts as one of another class.
//
// The choice's other values take the places of timestep_spacing and of use_karras_sigmas,
// use_exponential_sigmas and use_beta_sigmas.
//
// Throws ConfigError where no kind is given and the file's class is neither one of those nor built
// in, and for a choice that the kind does not have: sigmas of DDIM, PNDM, ancestral Euler and
// LCM, timestep_spacing of LCM. CheckpointError where a value is not supported, ConfigError where
// that is so of another kind than the file's own that was chosen.
// Keys that only other schedulers of diffusers know are passed over, as diffusers does. Any other
// key is refused where the file is of the kind's own class, and not carried over where it is not.
std::unique_ptr<Scheduler> make_scheduler(nlohmann::json object, const std::string& source,
                                          const SchedulerChoice& choice, OutdatedValues outdated);

}  // namespace pcpp

#endif  // PCPP_SCHEDULERS_SCHEDULER_H_
