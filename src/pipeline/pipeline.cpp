#include "pcpp/pipeline.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/isfinite.h>
#include <c10/core/InferenceMode.h>
#include <fmt/format.h>
#include <sys/resource.h>

#include <algorithm>
#include <iterator>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <tuple>
#include <utility>

#include "base/check.h"
#include "base/deadline.h"
#include "base/log.h"
#include "kernels/limits.h"
#include "kernels/moments.h"
#include "models/unet.h"
#include "ops/elements.h"
#include "pipeline/beginning.h"
#include "pipeline/conditions.h"
#include "pipeline/control_nets.h"
#include "pipeline/denoise.h"
#include "pipeline/networks.h"
#include "pipeline/own_thread.h"
#include "pipeline/phases.h"
#include "pipeline/request.h"
#include "pipeline/tensors.h"
#include "pipeline/threads.h"
#include "pipeline/trace.h"
#include "pipeline/translate.h"
#include "pipeline/vae_bands.h"
#include "planner/arrangements.h"
#include "schedulers/scheduler.h"

namespace pcpp {

namespace {

std::int64_t peak_resident_bytes() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<std::int64_t>(usage.ru_maxrss) * 1024;
}

void warn_of_unread_negatives(const GenerationRequest& request, const RequestSizes& sizes) {
  const bool has_negatives =
      request.negative_prompts || request.prompt_embeds.contains("negative_prompt_embeds");
  if (sizes.guided || !has_negatives) return;
  log().warn(
      "negative prompts are not read: no unconditional branch runs (guidance scale 1 or below, or "
      "a U-Net that is told the scale)");
}

void check_there(bool is_there) {
  check<ConfigError>(is_there, "this pipeline was moved from: draw with the other one");
}

}  // namespace

class Pipeline::Parts {
 public:
  Parts(const std::filesystem::path& model, const World& world, const PipelineOptions& options)
      : networks_(model, world, options),
        profile_(options.profile),
        attention_(options.attention),
        cuda_graphs_(options.cuda_graphs) {}

  GenerationResult generate(const GenerationRequest& request);
  std::vector<Image> decode(const FloatTensor& latents, const DecodeSettings& settings);

  const World& world() const { return networks_.world(); }
  const ModelInfo& model() const { return networks_.model(); }

 private:
  // To be held while the devices are used for a caller.
  std::unique_lock<std::mutex> turn();
  const Ranks& ranks() const { return networks_.ranks(); }
  const UNet& unet() const { return networks_.unet(); }

  // A request as tensors.
  struct Inputs {
    std::unique_ptr<Scheduler> scheduler;  // with the steps that are made
    BeginningNoise noise;
    std::optional<BranchConditions> conditions;  // absent: the request has prompts
  };

  // What the world's devices cannot do.
  void check_devices(const GenerationRequest& request, const RequestSizes& sizes) const;
  PlannedRun choose(const GenerationRequest& request, const RequestSizes& sizes);
  // Judges all that is left of a checked request, before anything is loaded or timed.
  Inputs read_inputs(const GenerationRequest& request, const RequestSizes& sizes) const;
  // Loads what is missing and returns what the U-Net is told.
  BranchConditions prepare(const GenerationRequest& request, const RequestSizes& sizes,
                           Inputs& inputs, GenerationResult& result);
  // How so many ranks share the steps.
  std::vector<Phase> plan_phases(const GenerationRequest& request, const RequestSizes& sizes,
                                 const Scheduler& scheduler, const ParallelConfig& parallel,
                                 int count) const;
  // All that is known before anything is drawn.
  void begin_result(const GenerationRequest& request, const RequestSizes& sizes,
                    const Scheduler& scheduler, const std::vector<Phase>& phases,
                    GenerationResult& result) const;
  // One result for each rank.
  std::vector<DenoiseResult> run(const DenoiseTask& task, const std::vector<Phase>& phases,
                                 const GenerationRequest& request, const RunState& start) const;
  // What the steps add, as SolverState has it; undefined where they add nothing.
  static at::Tensor noises_of_steps(Inputs& inputs, const std::stop_token& stop);
  void collect(std::vector<DenoiseResult>& drawn, GenerationResult& result) const;

  std::mutex drawing_;  // held while a request is drawn
  Networks networks_;
  std::optional<DeviceProfile> profile_;
  GpuAttention attention_;  // the U-Net's; the VAE's heads are of another size, and float32
  bool cuda_graphs_;
  // By rows, columns, images and branches.
  std::map<std::tuple<std::int64_t, std::int64_t, std::int64_t, int>, DeviceProfile> measured_;
};

void Pipeline::Parts::check_devices(const GenerationRequest& request,
                                    const RequestSizes& sizes) const {
  if (!ranks().first_gpu()) return;
  check<ConfigError>(!request.ranks_in_turn || world().gpu_transport() != GpuTransport::nccl,
                     "NCCL's kernels wait for all ranks, which cannot compute in turn then: take "
                     "the peer transport");
  const bool split = request.parallel.guidance == Guidance::split && sizes.guided;
  const std::int64_t batch = sizes.images * (sizes.guided && !split ? 2 : 1);
  check<ConfigError>(batch <= kMostBatch,
                     "{} images with their branches of guidance at once on GPUs, which take {} at "
                     "most: ask for fewer images",
                     batch, kMostBatch);
  if (request.parallel.reach == Reach::none) return;
  const bool is_whole = request.guidance_start == 0 && request.guidance_end == 1;
  const int bands = world().ranks() / (split && is_whole && !request.automatic ? 2 : 1);
  check<ConfigError>(bands <= kMostOtherBands + 1,
                     "{} bands on GPUs, whose GroupNorm combines {} at most: take fewer ranks",
                     bands, kMostOtherBands + 1);
}

// The fastest of one device and the request's method in all arrangements.
PlannedRun Pipeline::Parts::choose(const GenerationRequest& request, const RequestSizes& sizes) {
  check_automatic(request.parallel, world().ranks());
  const WorkShape shape{sizes.rows, sizes.columns, sizes.images, sizes.guided ? 2 : 1};
  const DeviceProfile* profile = profile_ ? &*profile_ : nullptr;
  if (profile == nullptr) {
    DeviceProfile& measured = measured_[{shape.rows, shape.columns, shape.images, shape.branches}];
    if (measured.curves.empty()) {
      measured = ranks().measure(shape, {request.peer_timeout, {attention_}, request.stop});
    }
    profile = &measured;
  }
  Plan plan;
  plan.runs = plan_arrangements(unet().network(), shape, world().ranks(), {request.parallel},
                                *profile, request.stop);
  const PlannedRun& fastest = plan.fastest();
  log().info("chose {} ranks: {:.1f} ms a step predicted, {:.2f} times one device's speed",
             fastest.ranks, fastest.step_ms, fastest.speedup);
  return fastest;
}

Pipeline::Parts::Inputs Pipeline::Parts::read_inputs(const GenerationRequest& request,
                                                     const RequestSizes& sizes) const {
  networks_.check_words(request);
  std::unique_ptr<Scheduler> scheduler = networks_.scheduler(request);
  const UNetConfig& config = unet().config();
  std::optional<BranchConditions> conditions;
  if (sizes.embedded) {
    conditions = given_conditions(request, config.text_width, config.pooled_width(), sizes.guided);
  }
  return {std::move(scheduler), draw_noise(request, sizes, model()), std::move(conditions)};
}

std::vector<Phase> Pipeline::Parts::plan_phases(const GenerationRequest& request,
                                                const RequestSizes& sizes,
                                                const Scheduler& scheduler,
                                                const ParallelConfig& parallel, int count) const {
  return phases_of(request, sizes, static_cast<int>(scheduler.timesteps().size()), unet(), parallel,
                   count,
                   {sizes.rows, sizes.columns, model().latent_channels, sizes.images,
                    networks_.dtype(), request.guidance_rescale > 0});
}

std::vector<DenoiseResult> Pipeline::Parts::run(const DenoiseTask& task,
                                                const std::vector<Phase>& phases,
                                                const GenerationRequest& request,
                                                const RunState& start) const {
  std::vector<DenoiseResult> drawn;
  RunState begin = start;
  for (const Phase& phase : phases) {
    const int count = phase.plan.topology().world_size();
    std::vector<DenoiseResult> results(static_cast<std::size_t>(count));
    const AttentionChoice attention{attention_, phase.plan.pool() > 0};
    ranks().run(count, {request.peer_timeout, attention, request.stop}, [&](Transport& transport) {
      const int rank = transport.rank();
      results[static_cast<std::size_t>(rank)] = denoise(task, phase, ranks().unet(rank), transport,
                                                        begin, request.keep_steps && rank == 0);
    });
    append(std::move(results), drawn);
    begin = drawn.front().end;
    begin.solver.noises = start.solver.noises;
  }
  return drawn;
}

void Pipeline::Parts::collect(std::vector<DenoiseResult>& drawn, GenerationResult& result) const {
  const DenoiseResult& first = drawn.front();
  check<DeviceError>(
      first.end.latents.isfinite().all().item<bool>(),
      "the latents became infinite or not a number: try {}less of guidance, of controls, of image "
      "prompts, of LoRAs, or smaller weights in the prompts",
      networks_.dtype() == DataType::float32 ? "" : "float32, ");
  result.latents = to_host(first.end.latents);
  for (const at::Tensor& latents : first.step_latents) {
    result.step_latents.push_back(to_host(latents));
  }
  for (std::size_t rank = 0; rank < drawn.size(); ++rank) {
    result.ranks[rank].steps = std::move(drawn[rank].records);
    if (result.trace) append(std::move(drawn[rank].trace), result.trace->ranks[rank]);
  }
}

at::Tensor Pipeline::Parts::noises_of_steps(Inputs& inputs, const std::stop_token& stop) {
  const int steps = inputs.scheduler->noisy_steps();
  if (steps == 0) return {};
  std::vector<std::int64_t> shape = inputs.noise.latents.sizes().vec();
  shape.insert(shape.begin(), steps);
  at::Tensor noises = at::empty(shape, at::kFloat);
  for (const at::Tensor& noise : noises.unbind()) {
    check_not_stopped(stop);
    inputs.noise.normal.draw_into(noise);
  }
  return noises;
}

BranchConditions Pipeline::Parts::prepare(const GenerationRequest& request,
                                          const RequestSizes& sizes, Inputs& inputs,
                                          GenerationResult& result) {
  use_all_threads(world());
  if (!sizes.embedded) networks_.load_text(request.stop);
  if (!request.image_prompts.empty()) networks_.load_image_encoders(request.stop);
  if (!request.init_images.empty()) networks_.load_encoder(request.stop);
  if (request.decode) networks_.load_decoder(request.stop);
  check_not_stopped(request.stop);
  const RunSettings settings{request.peer_timeout, {}, request.stop};
  if (!inputs.conditions) {
    const Clock::time_point begin = Clock::now();
    inputs.conditions = ranks().on_first(
        settings, [&] { return encode_prompts(networks_.text(), request, sizes.guided); });
    result.times.text_seconds = seconds_since(begin);
  }
  BranchConditions conditions = std::move(*inputs.conditions);
  result.truncated_tokens =
      std::max(conditions.conditional.truncated_tokens,
               conditions.unconditional ? conditions.unconditional->truncated_tokens : 0);
  if (request.image_prompts.empty()) return conditions;
  const Clock::time_point begin = Clock::now();
  conditions = ranks().on_first(settings, [&] {
    return networks_.image_encoders().encode(request, sizes, std::move(conditions));
  });
  result.times.image_prompt_seconds = seconds_since(begin);
  return conditions;
}

void Pipeline::Parts::begin_result(const GenerationRequest& request, const RequestSizes& sizes,
                                   const Scheduler& scheduler, const std::vector<Phase>& phases,
                                   GenerationResult& result) const {
  result.width = sizes.width;
  result.height = sizes.height;
  result.scheduler = scheduler.kind();
  result.guidance_scale = sizes.guidance_scale;
  if (!request.init_images.empty()) result.strength = strength_of(request);
  result.ranks = reports(phases);
  if (request.trace) result.trace = network_trace(unet(), static_cast<int>(result.ranks.size()));
}

std::unique_lock<std::mutex> Pipeline::Parts::turn() {
  std::unique_lock alone(drawing_, std::try_to_lock);
  check<ConfigError>(alone.owns_lock(),
                     "this pipeline draws another request: wait for it, or make a pipeline for "
                     "each thread");
  return alone;
}

std::vector<Image> Pipeline::Parts::decode(const FloatTensor& latents,
                                           const DecodeSettings& settings) {
  const std::unique_lock alone = turn();
  const c10::InferenceMode inference;
  check_latents(latents, model());
  const at::Tensor given = ranks().outside([&] {
    use_all_threads(world());
    networks_.load_decoder(settings.stop);
    return to_tensor(latents, "latents");
  });
  GenerationRequest request;
  request.stop = settings.stop;
  request.peer_timeout = settings.peer_timeout;
  GenerationResult result;
  result.ranks.resize(static_cast<std::size_t>(world().ranks()));
  pcpp::decode(networks_, request, given, Clock::now(), result);
  check_not_stopped(settings.stop);
  return std::move(result.images);
}

GenerationResult Pipeline::Parts::generate(const GenerationRequest& request) {
  const std::unique_lock alone = turn();
  const c10::InferenceMode inference;
  const Clock::time_point begin = Clock::now();
  const RequestSizes sizes = check_request(request, model());
  check_devices(request, sizes);
  check_not_stopped(request.stop);
  check_parts(request, model());
  Inputs inputs = on_own_thread([&] { return read_inputs(request, sizes); });
  const Scheduler& scheduler = *inputs.scheduler;
  GenerationResult result;
  if (request.automatic) result.chosen = choose(request, sizes);
  const ParallelConfig& parallel = result.chosen ? result.chosen->parallel : request.parallel;
  const int count = result.chosen ? result.chosen->ranks : world().ranks();
  const std::vector<Phase> phases = plan_phases(request, sizes, scheduler, parallel, count);
  BranchConditions conditions =
      ranks().outside([&] { return prepare(request, sizes, inputs, result); });
  begin_result(request, sizes, scheduler, phases, result);
  warn_of_stale_noise(scheduler, phases, parallel);
  warn_of_unread_negatives(request, sizes);
  log().info("drawing {} of {}x{} pixels in {} bands, {} steps with {}", sizes.images, sizes.width,
             sizes.height, main_phase(phases).plan.topology().patches(),
             scheduler.timesteps().size(), name_of(result.scheduler));
  SolverState solver;
  solver.noises = ranks().outside([&] { return noises_of_steps(inputs, request.stop); });
  Beginning beginning =
      begin_run(networks_, request, sizes, scheduler, inputs.noise, begin, result);
  std::vector<ControlTask> controls = ranks().outside([&] {
    return control_tasks(request, sizes, static_cast<int>(scheduler.timesteps().size()));
  });
  const DenoiseTask task{
      .scheduler = scheduler,
      .parallel = parallel,
      .conditions = std::move(conditions),
      .time_ids = networks_.is_xl() ? time_ids(sizes.height, sizes.width) : at::Tensor(),
      .guidance_scale = sizes.guidance_scale,
      .guidance_rescale = sizes.guided ? request.guidance_rescale : 0,
      .kept = std::move(beginning.kept),
      .beside = std::move(beginning.beside),
      .controls = std::move(controls),
      .dtype = scalar_type_of(networks_.dtype()),
      .peer_timeout = request.peer_timeout,
      .stop = request.stop,
      .cuda_graphs = cuda_graphs_ && ranks().first_gpu() && !request.trace,
      .in_turn = request.ranks_in_turn,
      .on_step = request.on_step,
      .trace_zero = request.trace ? std::optional(begin) : std::nullopt};
  const Clock::time_point denoise_begin = Clock::now();
  std::vector<DenoiseResult> drawn =
      run(task, phases, request, {beginning.latents, std::move(solver)});
  result.times.denoise_seconds = seconds_since(denoise_begin);
  ranks().outside([&] { collect(drawn, result); });
  if (request.decode) pcpp::decode(networks_, request, drawn.front().end.latents, begin, result);
  check_not_stopped(request.stop);
  result.times.total_seconds = seconds_since(begin);
  result.convolutions = networks_.convolutions();
  result.peak_bytes = peak_resident_bytes();
  return result;
}

Pipeline::Pipeline(const std::filesystem::path& model, const World& world,
                   const PipelineOptions& options)
    : parts_(translated(world.device(), [&] {
        return on_own_thread([&] { return std::make_unique<Parts>(model, world, options); });
      })) {}

Pipeline::~Pipeline() = default;
Pipeline::Pipeline(Pipeline&&) noexcept = default;
Pipeline& Pipeline::operator=(Pipeline&&) noexcept = default;

GenerationResult Pipeline::generate(const GenerationRequest& request) {
  check_there(parts_ != nullptr);
  try {
    return translated(parts_->world().device(), [&] { return parts_->generate(request); });
  } catch (const CallersError& error) {
    std::rethrow_exception(error.error);
  }
}

std::vector<Image> Pipeline::decode(const FloatTensor& latents, const DecodeSettings& settings) {
  check_there(parts_ != nullptr);
  return translated(parts_->world().device(), [&] { return parts_->decode(latents, settings); });
}

const World& Pipeline::world() const { return parts_->world(); }

const ModelInfo& Pipeline::model() const { return parts_->model(); }

}  // namespace pcpp
