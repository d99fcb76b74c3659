#include "pcpp/pipeline.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/isfinite.h>
#include <c10/core/InferenceMode.h>
#include <fmt/format.h>
#include <sys/resource.h>

#include <algorithm>
#include <array>
#include <map>
#include <memory>
#include <optional>
#include <tuple>
#include <utility>

#include "base/check.h"
#include "base/deadline.h"
#include "base/log.h"
#include "io/checkpoint.h"
#include "kernels/moments.h"
#include "models/unet.h"
#include "models/vae.h"
#include "ops/convolution_choice.h"
#include "ops/convolution_costs.h"
#include "pipeline/conditions.h"
#include "pipeline/decode.h"
#include "pipeline/denoise.h"
#include "pipeline/model_info.h"
#include "pipeline/on_device.h"
#include "pipeline/options.h"
#include "pipeline/own_thread.h"
#include "pipeline/ranks.h"
#include "pipeline/request.h"
#include "pipeline/tensors.h"
#include "pipeline/threads.h"
#include "pipeline/trace.h"
#include "pipeline/translate.h"
#include "planner/arrangements.h"
#include "planner/network_work.h"
#include "schedulers/scheduler.h"

namespace pcpp {

namespace {

double seconds_since(Clock::time_point start) { return milliseconds_since(start) / 1000; }

std::int64_t peak_resident_bytes() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<std::int64_t>(usage.ru_maxrss) * 1024;
}

// SDXL's micro-conditioning (arXiv 2307.01952, section 2.2): original size, crop, target size, each
// with the height first.
at::Tensor time_ids(const RequestSizes& sizes) {
  const std::array<int, 6> ids = {sizes.height, sizes.width, 0, 0, sizes.height, sizes.width};
  at::Tensor result = at::empty({1, 6}, at::kFloat);
  std::copy(ids.begin(), ids.end(), result.mutable_data_ptr<float>());
  return result;
}

bool is_xl(const UNetConfig& config) { return config.added.has_value(); }

}  // namespace

class Pipeline::Parts {
 public:
  Parts(const std::filesystem::path& folder, const World& world, const PipelineOptions& options)
      : dtype_(checked(options, world).dtype),
        checkpoint_(Checkpoint::open(folder, options.variant)),
        ranks_(world, options.dtype, [this](at::Device device) { return load_unet(device); }),
        model_(model_info(checkpoint_, unet().config())),
        profile_(options.profile),
        attention_(options.attention),
        cuda_graphs_(options.cuda_graphs),
        extra_weight_bytes_(options.extra_weight_bytes),
        convolution_times_(options.convolution_times.value_or(default_convolution_times())) {
    warn_of_class(checkpoint_, is_xl(unet().config()));
    convolutions_ = choose_convolutions_of(unet().sites());
  }

  GenerationResult generate(const GenerationRequest& request);

  const World& world() const { return ranks_.world(); }
  const ModelInfo& model() const { return model_; }

 private:
  UNet load_unet(at::Device device) const;
  const UNet& unet() const { return ranks_.unet(); }

  // For a network that the ranks compute.
  ConvolutionWays choose_convolutions_of(const SiteRegistry& sites) {
    set_threads(world().threads_per_rank());
    const ConvolutionWays ways =
        choose_convolutions(sites, usual_images(model_), extra_weight_bytes_, convolution_times_);
    use_all_threads();
    extra_weight_bytes_ -= ways.extra_weight_bytes;
    return ways;
  }

  std::unique_ptr<Scheduler> load_scheduler(const GenerationRequest& request) const {
    std::unique_ptr<Scheduler> scheduler = make_scheduler(
        checkpoint_.component("scheduler").folder() / "scheduler_config.json", request.scheduler,
        request.sigmas, is_xl(unet().config()) ? OutdatedValues::keep : OutdatedValues::mend);
    scheduler->set_steps(request.steps);
    return scheduler;
  }

  // A request as tensors.
  struct Inputs {
    std::unique_ptr<Scheduler> scheduler;        // after set_steps
    at::Tensor latents;                          // of the first step
    std::optional<BranchConditions> conditions;  // absent: the request has prompts
  };

  void check_bands(const GenerationRequest& request, const RequestSizes& sizes) const;
  PlannedRun choose(const GenerationRequest& request, const RequestSizes& sizes);
  void load_for(const GenerationRequest& request, const RequestSizes& sizes);
  // Judges all that is left of a checked request, before anything is loaded or timed.
  Inputs read_inputs(const GenerationRequest& request, const RequestSizes& sizes) const;
  // Loads what is missing and returns what the U-Net is told.
  BranchConditions prepare(const GenerationRequest& request, const RequestSizes& sizes,
                           Inputs& inputs, GenerationResult& result);
  std::vector<DenoiseResult> run(const DenoiseTask& task, const GenerationRequest& request,
                                 const at::Tensor& latents);
  // SDXL's VAE leaves the range of float16.
  DataType vae_dtype() const { return dtype_ == DataType::float16 ? DataType::float32 : dtype_; }
  void decode(const GenerationRequest& request, int ranks, const at::Tensor& latents,
              GenerationResult& result) const;
  void collect(const GenerationRequest& request, const ExchangePlan& plan,
               std::vector<DenoiseResult>& ranks, GenerationResult& result);
  std::vector<RankReport> reports(const ExchangePlan& plan,
                                  std::vector<DenoiseResult>& ranks) const;
  // For what only one thread does: those of all ranks, as far as there are cores.
  void use_all_threads() const {
    set_threads(static_cast<int>(std::min<std::int64_t>(
        World::cores(), std::int64_t{world().ranks()} * world().threads_per_rank())));
  }

  DataType dtype_;
  Checkpoint checkpoint_;
  Ranks ranks_;
  ModelInfo model_;
  std::optional<TextEncoders> text_;
  OnDevices<VaeDecoder> vaes_;  // empty until a request decodes
  std::optional<DeviceProfile> profile_;
  GpuAttention attention_;  // the U-Net's; the VAE's heads are of another size, and float32
  bool cuda_graphs_;
  std::int64_t extra_weight_bytes_;  // not yet taken
  std::filesystem::path convolution_times_;
  ConvolutionWays convolutions_;
  // By rows, columns, images and branches.
  std::map<std::tuple<std::int64_t, std::int64_t, std::int64_t, int>, DeviceProfile> measured_;
};

UNet Pipeline::Parts::load_unet(at::Device device) const {
  const Clock::time_point begin = Clock::now();
  const Component component = checkpoint_.component("unet");
  UNet unet(read_unet_config(component.config()),
            WeightScope(component.weights(), scalar_type_of(dtype_), device));
  log().info("loaded {} to {} in {:.1f} s", component.folder().string(), device.str(),
             seconds_since(begin));
  return unet;
}

// On GPUs a kernel combines GroupNorm's moments of so many bands at most.
void Pipeline::Parts::check_bands(const GenerationRequest& request,
                                  const RequestSizes& sizes) const {
  if (!ranks_.first_gpu() || request.parallel.reach == Reach::none) return;
  const bool split = request.parallel.guidance == Guidance::split && sizes.guided;
  const int bands = world().ranks() / (split && !request.automatic ? 2 : 1);
  check<ConfigError>(bands <= kMostOtherBands + 1,
                     "{} bands on GPUs, whose GroupNorm combines {} at most: take fewer ranks",
                     bands, kMostOtherBands + 1);
}

// The fastest of one device and the request's method in all arrangements.
PlannedRun Pipeline::Parts::choose(const GenerationRequest& request, const RequestSizes& sizes) {
  check<ConfigError>(request.parallel.bands.empty(),
                     "an automatic request chooses its bands: leave them empty");
  check_settings(request.parallel, world().ranks());
  const WorkShape shape{sizes.rows, sizes.columns, sizes.images, sizes.guided ? 2 : 1};
  const DeviceProfile* profile = profile_ ? &*profile_ : nullptr;
  if (profile == nullptr) {
    DeviceProfile& measured = measured_[{shape.rows, shape.columns, shape.images, shape.branches}];
    if (measured.curves.empty()) {
      measured = ranks_.measure(shape, request.peer_timeout, attention_, request.stop);
    }
    profile = &measured;
  }
  Plan plan;
  plan.runs =
      plan_arrangements(unet().config(), shape, world().ranks(), {request.parallel}, *profile);
  const PlannedRun& fastest = plan.fastest();
  log().info("chose {} ranks: {:.1f} ms a step predicted, {:.2f} times one device's speed",
             fastest.ranks, fastest.step_ms, fastest.speedup);
  return fastest;
}

void Pipeline::Parts::load_for(const GenerationRequest& request, const RequestSizes& sizes) {
  if (!sizes.embedded && !text_) {
    const UNetConfig& config = unet().config();
    TextEncoders text = on_device(ranks_.first_gpu(), [&](at::Device device) {
      return TextEncoders(checkpoint_, is_xl(config), scalar_type_of(dtype_), device);
    });
    check<CheckpointError>(
        text.text_width() == config.text_width &&
            (!config.added || text.pooled_width() == config.pooled_width()),
        "the text encoders make texts of {} values, {} pooled, and the U-Net reads {}, {} pooled: "
        "they are not of the same model",
        text.text_width(), text.pooled_width(), config.text_width, config.pooled_width());
    text_ = std::move(text);
  }
  if (request.decode && vaes_.empty()) {
    const Component component = checkpoint_.component("vae");
    auto vaes = ranks_.on_each_device([&](at::Device device) {
      return VaeDecoder(component.config(),
                        WeightScope(component.weights(), scalar_type_of(vae_dtype()), device));
    });
    const VaeDecoder& vae = vaes.at(ranks_.first_gpu());
    check<CheckpointError>(vae.latent_channels() == model_.latent_channels,
                           "the VAE decodes {} channels, the U-Net makes {}", vae.latent_channels(),
                           model_.latent_channels);
    choose_convolutions_of(vae.sites());
    vaes_ = std::move(vaes);
  }
}

Pipeline::Parts::Inputs Pipeline::Parts::read_inputs(const GenerationRequest& request,
                                                     const RequestSizes& sizes) const {
  Inputs inputs{load_scheduler(request), {}, {}};
  const UNetConfig& config = unet().config();
  if (sizes.embedded) {
    inputs.conditions =
        given_conditions(request, config.text_width, config.pooled_width(), sizes.guided);
  }
  const at::Tensor noise =
      request.latents ? to_tensor(*request.latents, "latents")
                      : standard_normal(request.seed, {sizes.images, model_.latent_channels,
                                                       sizes.rows, sizes.columns});
  inputs.latents = noise * inputs.scheduler->init_noise_sigma();
  return inputs;
}

std::vector<DenoiseResult> Pipeline::Parts::run(const DenoiseTask& task,
                                                const GenerationRequest& request,
                                                const at::Tensor& latents) {
  const int ranks = task.plan.topology().world_size();
  std::vector<DenoiseResult> results(static_cast<std::size_t>(ranks));
  ranks_.run(ranks, request.peer_timeout, attention_, [&](Transport& transport) {
    const int rank = transport.rank();
    results[static_cast<std::size_t>(rank)] =
        denoise(task, ranks_.unet(rank), transport, latents, request.keep_steps && rank == 0);
  });
  return results;
}

// By those that drew, whatever their method: each decodes a band and reads the others' rows fresh.
void Pipeline::Parts::decode(const GenerationRequest& request, int ranks, const at::Tensor& latents,
                             GenerationResult& result) const {
  const Clock::time_point begin = Clock::now();
  const ExchangePlan plan = decode_plan(vaes_.at(ranks_.first_gpu()), vae_dtype(), ranks,
                                        latents.size(2), latents.size(3));
  const DecodeTask task{plan, latents, request.peer_timeout, request.stop};
  std::vector<at::Tensor> bands(static_cast<std::size_t>(plan.topology().patches()));
  ranks_.run(plan.topology().world_size(), request.peer_timeout, GpuAttention::automatic,
             [&](Transport& transport) {
               const int rank = transport.rank();
               bands[static_cast<std::size_t>(rank)] = decode_band(
                   task, vaes_.at(ranks_.gpu_of(rank)), ranks_.unet(rank).device(), transport);
             });
  result.images = ranks_.outside([&] { return joined(bands); });
  result.times.decode_seconds = seconds_since(begin);
}

std::vector<RankReport> Pipeline::Parts::reports(const ExchangePlan& plan,
                                                 std::vector<DenoiseResult>& ranks) const {
  std::vector<RankReport> reports;
  for (int rank = 0; rank < plan.topology().world_size(); ++rank) {
    const RowRange band = plan.topology().band_of(rank);
    reports.push_back({{band.begin, band.end},
                       plan.topology().first_branch(rank),
                       plan.stale_bytes(rank),
                       std::move(ranks[static_cast<std::size_t>(rank)].records)});
  }
  return reports;
}

void Pipeline::Parts::collect(const GenerationRequest& request, const ExchangePlan& plan,
                              std::vector<DenoiseResult>& ranks, GenerationResult& result) {
  const DenoiseResult& first = ranks.front();
  check<DeviceError>(first.latents.isfinite().all().item<bool>(),
                     "the latents became infinite or not a number: try float32, or a lower "
                     "guidance scale");
  result.latents = to_host(first.latents);
  for (const at::Tensor& latents : first.step_latents) {
    result.step_latents.push_back(to_host(latents));
  }
  result.ranks = reports(plan, ranks);
  if (!request.trace) return;
  result.trace = network_trace(unet());
  for (DenoiseResult& rank : ranks) result.trace->ranks.push_back(std::move(rank.trace));
}

BranchConditions Pipeline::Parts::prepare(const GenerationRequest& request,
                                          const RequestSizes& sizes, Inputs& inputs,
                                          GenerationResult& result) {
  use_all_threads();
  load_for(request, sizes);
  check_not_stopped(request.stop);
  if (inputs.conditions) return std::move(*inputs.conditions);
  const Clock::time_point text_begin = Clock::now();
  BranchConditions conditions = on_device(ranks_.first_gpu(), [&](at::Device /*device*/) {
    return encode_prompts(*text_, request, sizes.guided);
  });
  result.truncated_tokens =
      std::max(conditions.conditional.truncated_tokens,
               conditions.unconditional ? conditions.unconditional->truncated_tokens : 0);
  result.times.text_seconds = seconds_since(text_begin);
  return conditions;
}

GenerationResult Pipeline::Parts::generate(const GenerationRequest& request) {
  const c10::InferenceMode inference;
  const Clock::time_point begin = Clock::now();
  const RequestSizes sizes = check_request(request, model_);
  check_not_stopped(request.stop);
  Inputs inputs = on_own_thread([&] { return read_inputs(request, sizes); });
  const Scheduler& scheduler = *inputs.scheduler;
  GenerationResult result;
  check_bands(request, sizes);
  if (request.automatic) result.chosen = choose(request, sizes);
  const ParallelConfig& parallel = result.chosen ? result.chosen->parallel : request.parallel;
  const Topology topology(result.chosen ? result.chosen->ranks : world().ranks(), parallel.guidance,
                          sizes.guided ? 2 : 1, sizes.rows, unet().row_unit(), parallel.bands);
  const ExchangePlan plan(
      unet().sites().sites(), topology, parallel,
      {sizes.rows, sizes.columns, model_.latent_channels, sizes.images, dtype_});
  BranchConditions conditions =
      ranks_.outside([&] { return prepare(request, sizes, inputs, result); });
  result.width = sizes.width;
  result.height = sizes.height;
  result.scheduler = scheduler.kind();
  const DenoiseTask task{.scheduler = scheduler,
                         .plan = plan,
                         .parallel = parallel,
                         .conditions = std::move(conditions),
                         .time_ids = is_xl(unet().config()) ? time_ids(sizes) : at::Tensor(),
                         .guidance_scale = request.guidance_scale,
                         .dtype = scalar_type_of(dtype_),
                         .peer_timeout = request.peer_timeout,
                         .stop = request.stop,
                         .cuda_graphs = cuda_graphs_ && ranks_.first_gpu() && !request.trace,
                         .on_step = request.on_step,
                         .trace_zero = request.trace ? std::optional(begin) : std::nullopt};
  log().info("drawing {} of {}x{} pixels in {} bands, {} steps with {}", sizes.images, sizes.width,
             sizes.height, topology.patches(), scheduler.timesteps().size(),
             name_of(result.scheduler));
  const Clock::time_point denoise_begin = Clock::now();
  std::vector<DenoiseResult> ranks = run(task, request, inputs.latents);
  result.times.denoise_seconds = seconds_since(denoise_begin);
  ranks_.outside([&] { collect(request, plan, ranks, result); });
  if (request.decode) {
    decode(request, topology.world_size(), ranks.front().latents, result);
  }
  check_not_stopped(request.stop);
  result.times.total_seconds = seconds_since(begin);
  result.convolutions = convolutions_;
  result.peak_bytes = peak_resident_bytes();
  return result;
}

Pipeline::Pipeline(const std::filesystem::path& folder, const World& world,
                   const PipelineOptions& options)
    : parts_(translated(world.device(), [&] {
        return on_own_thread([&] { return std::make_unique<Parts>(folder, world, options); });
      })) {}

Pipeline::~Pipeline() = default;
Pipeline::Pipeline(Pipeline&&) noexcept = default;
Pipeline& Pipeline::operator=(Pipeline&&) noexcept = default;

GenerationResult Pipeline::generate(const GenerationRequest& request) {
  return translated(parts_->world().device(), [&] { return parts_->generate(request); });
}

const World& Pipeline::world() const { return parts_->world(); }

const ModelInfo& Pipeline::model() const { return parts_->model(); }

}  // namespace pcpp
