// The step loop: every rank's part of one phase of a request.
#ifndef PCPP_PIPELINE_DENOISE_H_
#define PCPP_PIPELINE_DENOISE_H_

#include <ATen/core/Tensor.h>

#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <stop_token>
#include <vector>

#include "base/deadline.h"
#include "models/unet.h"
#include "parallel/transport.h"
#include "pcpp/config.h"
#include "pcpp/trace.h"
#include "pipeline/conditions.h"
#include "pipeline/control_nets.h"
#include "pipeline/phases.h"
#include "schedulers/scheduler.h"

namespace pcpp {

// Where the mask is 0, every step's latents are this image's, with as much of this noise as there
// is then, and the last one's the image alone. Whole float32 latents.
struct KeptImage {
  at::Tensor image;  // [images, c, h, w]
  at::Tensor noise;  // standard normal, likewise
  at::Tensor mask;   // [images, 1, h, w], 0 or 1
};

// What all ranks share in all phases of a request; nothing in it changes while they run.
struct DenoiseTask {
  const Scheduler& scheduler;  // after set_steps
  ParallelConfig parallel;
  BranchConditions conditions;  // with both branches where a phase is guided
  at::Tensor time_ids;          // SDXL's [1, 6]; undefined elsewhere
  double guidance_scale = 1;
  double guidance_rescale = 0;                   // above it, phases' plans gather both branches
  std::optional<KeptImage> kept = std::nullopt;  // on the CPU
  // [images, c, h, w], on the CPU: what the U-Net reads after the scaled latents' channels;
  // undefined for those that read latents alone.
  at::Tensor beside = {};
  std::vector<ControlTask> controls = {};  // one for each of the U-Net's ControlNets
  at::ScalarType dtype = at::kFloat;
  std::chrono::milliseconds peer_timeout{};
  std::stop_token stop;
  bool cuda_graphs = false;                          // only for ranks on GPUs
  bool in_turn = false;                              // steady steps' ranks compute one by one
  std::function<void(const StepProgress&)> on_step;  // called by rank 0
  // Absent: nothing is traced. From when a trace counts its times.
  std::optional<Clock::time_point> trace_zero = std::nullopt;
};

// Between two steps; on the CPU.
struct RunState {
  at::Tensor latents;  // float32, whole; scaled as the scheduler has them
  SolverState solver;
};

struct DenoiseResult {
  RunState end;                          // after the phase, without noises; alike on every rank
  std::vector<at::Tensor> step_latents;  // after each step, where asked for
  std::vector<StepRecord> records;
  RankTrace trace;  // where asked for
};

// One rank's run over the steps of a phase. It computes where `unet` lies. Called by every rank of
// the transport's world, each on its own thread. Throws Cancelled once a stop is requested.
DenoiseResult denoise(const DenoiseTask& task, const Phase& phase, const UNet& unet,
                      Transport& transport, const RunState& start, bool keep_steps);

// After what `drawn` holds, by rank: what the ranks of the next phase did.
void append(std::vector<DenoiseResult>&& phase, std::vector<DenoiseResult>& drawn);

}  // namespace pcpp

#endif  // PCPP_PIPELINE_DENOISE_H_
