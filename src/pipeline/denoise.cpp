#include "pipeline/denoise.h"

#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/full.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <exception>
#include <functional>
#include <iterator>
#include <utility>

#include "base/check.h"
#include "base/deadline.h"
#include "cache/noise_gather.h"
#include "cache/stale_cache.h"
#include "gpu/gpu.h"
#include "kernels/guided_step.h"
#include "ops/patch_context.h"
#include "ops/span_log.h"
#include "parallel/rank_turn.h"
#include "pipeline/guidance.h"
#include "pipeline/step_graphs.h"
#include "pipeline/tensors.h"
#include "pipeline/threads.h"
#include "pipeline/trace.h"
#include "pipeline/translate.h"

namespace pcpp {

namespace {

SolverState moved(SolverState state, at::Device device) {
  for (at::Tensor& prediction : state.predictions) prediction = prediction.to(device);
  for (at::Tensor* tensor : {&state.sample, &state.noises}) {
    if (tensor->defined()) *tensor = tensor->to(device);
  }
  return state;
}

// Of a step, each [images, c, h, w].
struct WholePredictions {
  at::Tensor conditional;
  at::Tensor unconditional;
};

// Rank-local state of a phase.
class Rank {
 public:
  Rank(const DenoiseTask& task, const Phase& phase, const UNet& unet, Transport& transport,
       const SolverState& state)
      : task_(task),
        phase_(phase),
        unet_(unet),
        rank_(transport.rank()),
        graphs_(transport, task.peer_timeout, task.stop),
        cache_(phase.plan, graphs_, task.peer_timeout, task.stop),
        gather_(phase.plan, graphs_, task.peer_timeout),
        context_(phase.plan, cache_, transport.rank(), unet.sites().condition_slots()),
        state_(moved(state, unet.device())) {
    if (task.beside.defined()) beside_ = task.beside.to(unet.device());
    if (task.kept) {
      const auto there = [&](const at::Tensor& tensor) { return tensor.to(unet.device()); };
      kept_ = {there(task.kept->image), there(task.kept->noise),
               there(task.kept->mask).to(at::kBool)};
    }
    if (task.in_turn) turn_.emplace(graphs_, task.peer_timeout);
    for (std::size_t i = 0; i < task.controls.size(); ++i) {
      const ControlTask& control = controls_.emplace_back(
          task.controls[i].within(phase.steps, task.parallel, phase.plan.topology().patches()));
      const bool runs = control.first < control.end;
      control_pixels_.push_back(runs ? control_pixels(control, control_slice(i)) : at::Tensor());
    }
    control_images_.resize(controls_.size());
    control_inputs_.resize(controls_.size());
    const Conditions mine = own_conditions();
    prompt_.text = mine.text.to(unet.device(), task.dtype);
    for (const auto& [tokens, scale] : mine.images) {
      prompt_.images.push_back({tokens.to(unet.device(), task.dtype), scale});
    }
    if (task.time_ids.defined()) {
      added_ = AddedConditions{
          mine.pooled.to(unet.device(), task.dtype),
          task.time_ids.expand({prompt_.text.size(0), -1}).contiguous().to(unet.device())};
    }
  }

  // To be called before such a step, as no part of it.
  void await_turn(int step) {
    if (turn_ && kind_of(step) == StepKind::steady) turn_->take();
  }

  // Predicts the noise of the rank's band of `latents` [images, c, h, w] and gathers all bands'.
  void predict(const at::Tensor& latents, int step) {
    set_inputs(latents, step);
    const auto work = [&] { predict_from_inputs(step); };
    if (!task_.cuda_graphs || !is_amid_steady_ones(step)) {
      graphs_.clear();
      work();
    } else if (!graphs_.run(work)) {
      cache_.repeat_step();
    }
  }

  // The latents after the step, by the prediction that was gathered last.
  at::Tensor advance(const at::Tensor& latents, int step) {
    const SpanScope scope("scheduler");
    return with_kept(predicted(latents, step), step + 1);
  }

  // But for the noises, which stay as they are.
  SolverState state() const {
    SolverState state = state_;
    state.noises.reset();
    return moved(std::move(state), at::kCPU);
  }

  // Whether this and its neighbours are steady and do alike, so that it can be recorded. Once a
  // step is steady, all that follow are. Two go ahead of what is recorded, as only the second
  // reads what a steady step sent: then every kernel has been loaded. And one where a ControlNet
  // does something else than before.
  bool is_amid_steady_ones(int step) const {
    return phase_.steps.holds(step - 2) && phase_.steps.holds(step + 1) &&
           kind_of(step - 2) == StepKind::steady &&
           std::ranges::all_of(controls_, [&](const ControlTask& control) {
             return control.does_alike(step, step - 1);
           });
  }

  StepKind kind_of(int step) const {
    if (task_.parallel.reach == Reach::none) return StepKind::steady;
    const bool waits = step < task_.parallel.sync_steps || step == phase_.steps.first;
    return waits ? StepKind::synchronous : StepKind::steady;
  }

  // Without its times.
  StepRecord record(int step) const {
    StepRecord record;
    record.step = step;
    record.kind = kind_of(step);
    record.sent = cache_.sent();
    record.sent.gather = gather_.sent_bytes();
    record.graphs = graphs_.count();
    return record;
  }

 private:
  at::Tensor predicted(const at::Tensor& latents, int step) {
    const auto [conditional, unconditional] = whole_predictions();
    const auto update =
        on_gpu(latents) ? task_.scheduler.linear_update(step) : std::optional<LinearUpdate>();
    if (!update) {
      return task_.scheduler.step(unconditional.defined()
                                      ? guided(unconditional, conditional, task_.guidance_scale)
                                      : conditional,
                                  step, latents, state_);
    }
    at::Tensor next = at::empty_like(latents);
    const Predictions<float> predictions{
        conditional.const_data_ptr<float>(),
        unconditional.defined() ? unconditional.const_data_ptr<float>() : nullptr,
        static_cast<float>(task_.guidance_scale)};
    guided_step(latents.const_data_ptr<float>(), predictions, *update, latents.numel(),
                next.mutable_data_ptr<float>(), gpus().stream());
    return next;
  }

  // `next` is the step that reads them, or how many there are.
  at::Tensor with_kept(const at::Tensor& latents, int next) const {
    if (!kept_) return latents;
    const auto& [image, noise, mask] = *kept_;
    const bool last = next == std::ssize(task_.scheduler.timesteps());
    return at::where(mask, latents, last ? image : task_.scheduler.noised(image, noise, next));
  }

  // At the same addresses in every step, which graphs read.
  void set_inputs(const at::Tensor& latents, int step) {
    const auto repeats = static_cast<std::int64_t>(topology().branches_of_rank());
    at::Tensor whole = task_.scheduler.scale_input(latents, step);
    if (beside_.defined()) whole = at::cat({whole, beside_}, 1);
    const at::Tensor band = band_with_halo(whole).repeat({repeats, 1, 1, 1}).to(task_.dtype);
    if (!input_.defined()) {
      input_ = at::empty_like(band);
      const bool is_told = unet_.config().guidance_width > 0;
      timestep_ = at::full({is_told ? 2 : 1}, task_.guidance_scale - 1, latents.options());
    }
    input_.copy_(band);
    timestep_.narrow(0, 0, 1).fill_(task_.scheduler.timesteps()[static_cast<std::size_t>(step)]);
    set_controls(step);
  }

  ControlSlice control_slice(std::size_t control) const {
    return {topology().band_of(rank_),
            unet_.network().controls[control].scale(),
            task_.parallel.reach,
            topology().branches_of_rank(),
            unet_.device(),
            task_.dtype};
  }

  // Of each ControlNet, whose image is made in the first step that it runs in.
  void set_controls(int step) {
    for (std::size_t i = 0; i < controls_.size(); ++i) {
      const ControlTask& control = controls_[i];
      if (control.runs_in(step) && !control_images_[i].defined()) {
        check_not_stopped(task_.stop);
        control_images_[i] =
            embed_control(control, unet_.control(i), control_slice(i), control_pixels_[i]);
        control_pixels_[i].reset();
      }
      control_inputs_[i] = control.input(control_images_[i], step);
    }
  }

  void predict_from_inputs(int step) {
    const StepKind kind = kind_of(step);
    const bool last = step + 1 == phase_.steps.end;
    cache_.begin_step(kind, last ? std::nullopt : std::optional(kind_of(step + 1)));
    const at::Tensor noise = unet_(input_, timestep_, prompt_, added_, context_, control_inputs_);
    cache_.end_step();
    const SpanScope gathering("gather");
    const at::Tensor own = guided_where_both(noise.to(at::kFloat)).contiguous();
    if (turn_ && kind == StepKind::steady) turn_->pass();
    gather_.run(static_cast<const std::byte*>(own.const_data_ptr()));
  }

  // Of the branches that this rank computes, unconditional first.
  Conditions own_conditions() const {
    const BranchConditions& all = task_.conditions;
    if (!phase_.guided) return all.conditional;
    if (topology().branches_of_rank() == 1) {
      return topology().first_branch(rank_) == 0 ? *all.unconditional : all.conditional;
    }
    Conditions both{at::cat({all.unconditional->text, all.conditional.text}), {}, 0};
    if (all.conditional.pooled.defined()) {
      both.pooled = at::cat({all.unconditional->pooled, all.conditional.pooled});
    }
    for (std::size_t i = 0; i < all.conditional.images.size(); ++i) {
      const auto& [tokens, scale] = all.conditional.images[i];
      both.images.push_back({at::cat({all.unconditional->images.at(i).tokens, tokens}), scale});
    }
    return both;
  }

  // The rank's rows of the whole latent and, where the image goes on, one row more on each side:
  // always fresh, since every rank holds the whole latent. At reach none zeros stand for it.
  at::Tensor band_with_halo(const at::Tensor& latents) const {
    const RowRange band = topology().band_of(rank_);
    const std::int64_t above = context_.is_first() ? 0 : 1;
    const std::int64_t below = context_.is_last() ? 0 : 1;
    if (task_.parallel.reach != Reach::none) {
      return latents.slice(2, band.begin - above, band.end + below);
    }
    at::Tensor padded =
        at::zeros({latents.size(0), latents.size(1), above + band.size() + below, latents.size(3)},
                  latents.options());
    padded.narrow(2, above, band.size()).copy_(latents.slice(2, band.begin, band.end));
    return padded;
  }

  // Guidance comes before the gather where a rank computes both branches, unless it is rescaled by
  // what is not its band's alone: half the bytes.
  at::Tensor guided_where_both(const at::Tensor& noise) const {
    if (phase_.plan.noise_branches() == topology().branches_of_rank()) return noise;
    const std::vector<at::Tensor> branches = noise.chunk(2);
    return guided(branches[0], branches[1], task_.guidance_scale);
  }

  // What was gathered. Where there is no unconditional one, guidance has been made already or there
  // is none.
  WholePredictions whole_predictions() const {
    const bool split = phase_.guided && topology().branches_of_rank() == 1;
    if (!split && phase_.plan.noise_branches() == 1) return {whole_noise(0), {}};
    WholePredictions both{whole_noise(1), whole_noise(0)};
    if (task_.guidance_rescale == 0) return both;
    const at::Tensor contrasted =
        guided(both.unconditional, both.conditional, task_.guidance_scale);
    return {rescaled(contrasted, both.conditional, task_.guidance_rescale), {}};
  }

  // [images, c, h, w], the branch-th that there is in what was gathered.
  at::Tensor whole_noise(int branch) const {
    const PlanShape& shape = phase_.plan.shape();
    const bool split = topology().branches_of_rank() == 1;
    std::vector<at::Tensor> bands;
    for (int patch = 0; patch < topology().patches(); ++patch) {
      const int rank = split ? branch * topology().patches() + patch : patch;
      const RowRange band = topology().band_of(rank);
      const std::byte* noise = gather_.band(rank);
      if (!split) noise += branch * phase_.plan.noise_bytes(rank) / phase_.plan.noise_branches();
      auto* data = const_cast<std::byte*>(noise);  // NOLINT: the tensor is only read
      bands.push_back(at::for_blob(data, {shape.images, shape.latent_channels, band.size(),
                                          shape.latent_columns})
                          .options(at::TensorOptions(at::kFloat).device(unet_.device()))
                          .target_device(unet_.device())
                          .make_tensor());
    }
    return at::cat(bands, 2);
  }

  const Topology& topology() const { return phase_.plan.topology(); }

  const DenoiseTask& task_;
  const Phase& phase_;
  const UNet& unet_;
  const int rank_;
  StepGraphs graphs_;
  std::optional<RankTurn> turn_;
  StaleCache cache_;
  NoiseGather gather_;
  PatchContext context_;
  at::Tensor input_;
  at::Tensor timestep_;
  PromptTokens prompt_{at::Tensor()};
  std::optional<AddedConditions> added_;
  SolverState state_;
  std::optional<KeptImage> kept_;
  at::Tensor beside_;
  std::vector<ControlTask> controls_;       // in this phase
  std::vector<at::Tensor> control_pixels_;  // until its image is made
  std::vector<at::Tensor> control_images_;
  std::vector<ControlInput> control_inputs_;  // of the present step
};

// Whatever it does to the number of threads is undone.
void tell(const std::function<void(const StepProgress&)>& on_step, const StepProgress& progress) {
  const int threads = at::get_num_threads();
  try {
    on_step(progress);
  } catch (...) {
    throw CallersError{std::current_exception()};
  }
  set_threads(threads);
}

}  // namespace

DenoiseResult denoise(const DenoiseTask& task, const Phase& phase, const UNet& unet,
                      Transport& transport, const RunState& start, bool keep_steps) {
  const auto [first, end] = phase.steps;
  StepLog log(transport.timeline(), task.trace_zero, first);
  Rank rank(task, phase, unet, transport, start.solver);
  DenoiseResult result;
  at::Tensor sample = start.latents.to(unet.device(), at::kFloat, false, true).contiguous();
  for (int step = first; step < end; ++step) {
    const Clock::time_point begin = Clock::now();
    const StepKind kind = rank.kind_of(step);
    rank.await_turn(step);
    log.begin_step();
    {
      const SpanScope scope(kind == StepKind::steady ? "steady step" : "synchronous step");
      rank.predict(sample, step);
      sample = rank.advance(sample, step);
    }
    log.end_step();
    result.records.push_back(rank.record(step));
    if (keep_steps) result.step_latents.push_back(sample.clone());
    if (transport.rank() == 0 && task.on_step) {
      tell(task.on_step, {.step = step + 1,
                          .steps = static_cast<int>(task.scheduler.timesteps().size()),
                          .kind = kind,
                          .step_ms = milliseconds_since(begin),
                          .latents = [&] { return to_host(sample); }});
    }
  }
  transport.drain(deadline_in(task.peer_timeout));
  for (StepRecord& record : result.records) log.time(record);
  result.trace = log.trace(phase.plan, unet.sites().sites());
  result.end = {sample.to(at::kCPU), rank.state()};
  for (at::Tensor& kept : result.step_latents) kept = kept.to(at::kCPU);
  return result;
}

void append(std::vector<DenoiseResult>&& phase, std::vector<DenoiseResult>& drawn) {
  if (drawn.size() < phase.size()) drawn.resize(phase.size());
  for (std::size_t rank = 0; rank < phase.size(); ++rank) {
    drawn[rank].end = std::move(phase[rank].end);
    std::ranges::move(phase[rank].step_latents, std::back_inserter(drawn[rank].step_latents));
    std::ranges::move(phase[rank].records, std::back_inserter(drawn[rank].records));
    append(std::move(phase[rank].trace), drawn[rank].trace);
  }
}

}  // namespace pcpp
