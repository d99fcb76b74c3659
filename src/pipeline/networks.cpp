#include "pipeline/networks.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <utility>

#include "base/check.h"
#include "base/deadline.h"
#include "base/log.h"
#include "io/input_file.h"
#include "io/weighted_prompt.h"
#include "models/vae_config.h"
#include "ops/convolution_choice.h"
#include "ops/convolution_costs.h"
#include "ops/elements.h"
#include "pipeline/model_info.h"
#include "pipeline/on_device.h"
#include "pipeline/options.h"
#include "pipeline/request.h"
#include "pipeline/threads.h"

namespace pcpp {

namespace {

constexpr const char* kSchedulerConfig = "scheduler_config.json";

// Judges them by all of the model's weights, none of which is read.
std::vector<LoraFile> open_all(const std::vector<Lora>& loras, const Checkpoint& checkpoint,
                               const UNetConfig& unet) {
  // Original names are of U-Nets whose levels have as many layers each.
  const int per_level = static_cast<int>(unet.levels.front().layers) + 1;
  std::vector<LoraFile> files;
  for (const Lora& lora : loras) {
    const LoraFile& file =
        files.emplace_back(LoraFile::open(from_root(lora.file), lora.scale, per_level));
    for (const auto& [component, updates] : file.components()) {
      check<CheckpointError>(checkpoint.has(component),
                             "{} changes the model's {}, and {} has none: it is for another model",
                             file.path().string(), component, checkpoint.path().string());
      WeightScope(checkpoint.component(component).weights(), at::kFloat).add(file, component);
    }
  }
  return files;
}

std::vector<TextualWord> read_all(const std::vector<TextualInversion>& inversions,
                                  const std::vector<ClipShape>& encoders) {
  constexpr std::int64_t kStartAndEnd = 2;
  std::vector<std::int64_t> widths;
  std::int64_t most = std::numeric_limits<std::int64_t>::max();
  for (const ClipShape& encoder : encoders) {
    widths.push_back(encoder.width);
    most = std::min(most, encoder.max_tokens - kStartAndEnd);
  }
  std::vector<TextualWord> words;
  words.reserve(inversions.size());
  for (const TextualInversion& inversion : inversions) {
    words.push_back(
        {word_of(inversion), read_textual_inversion(from_root(inversion.file), widths, most)});
  }
  return words;
}

// Of the VAE where the other networks are of `dtype`.
DataType vae_dtype_for(DataType dtype, const Checkpoint& checkpoint) {
  if (dtype != DataType::float16 || !checkpoint.has("vae")) return dtype;
  ConfigReader config = checkpoint.component("vae").config();
  return leaves_float16(config) ? DataType::float32 : dtype;
}

}  // namespace

Networks::Networks(const std::filesystem::path& model, const World& world,
                   const PipelineOptions& options)
    : dtype_(checked(options, world).dtype),
      checkpoint_(Checkpoint::open(model, {options.variant, options.configs, options.vae})),
      unet_config_(read_unet_config(checkpoint_.component("unet").config())),
      loras_(open_all(options.loras, checkpoint_, unet_config_)),
      words_(read_all(options.textual_inversions, text_encoders_of(checkpoint_))),
      control_nets_(open_control_nets(options.controlnets, options.variant, unet_config_)),
      ip_adapters_(open_ip_adapters(options.ip_adapters, options.variant, unet_config_)),
      scheduler_source_(checkpoint_.component("scheduler").config_source(kSchedulerConfig)),
      scheduler_config_(checkpoint_.component("scheduler").config_object(kSchedulerConfig)),
      model_(model_info(checkpoint_, unet_config_, control_nets_, ip_adapters_.size())),
      vae_dtype_(vae_dtype_for(dtype_, checkpoint_)),
      ranks_(world, dtype_, [&](at::Device device) { return load_unet(device, options.stop); }),
      extra_weight_bytes_(options.extra_weight_bytes),
      convolution_times_(
          from_root(options.convolution_times.value_or(default_convolution_times()))) {
  warn_of_class(checkpoint_, is_xl(), !control_nets_.empty());
  convolutions_ = choose_convolutions_of(unet().sites(), options.stop);
}

UNet Networks::load_unet(at::Device device, const std::stop_token& stop) const {
  const Clock::time_point begin = Clock::now();
  const Component component = checkpoint_.component("unet");
  const auto scope_of = [&](const Weights& weights) {
    return WeightScope(weights, scalar_type_of(dtype_), device, stop);
  };
  const WeightScope weights = scope_of(component.weights());
  for (const LoraFile& lora : loras_) weights.add(lora, "unet");
  std::vector<WeightScope> control_weights;
  std::string places = component.place();
  for (const ControlNetFile& control : control_nets_) {
    control_weights.push_back(scope_of(control.component.weights()));
    places += ", " + control.component.place();
  }
  std::vector<WeightScope> adapters;
  for (const IpAdapterFile& adapter : ip_adapters_) {
    adapters.push_back(
        scope_of(adapter.attention).labelled(fmt::format("ip_adapter.{}", adapters.size())));
    places += ", " + adapter.place;
  }
  UNet unet(network_of(unet_config_, control_nets_), weights.with_adapters(std::move(adapters)),
            control_weights);
  log().info("loaded {} to {} in {:.1f} s", places, device.str(), seconds_since(begin));
  return unet;
}

ConvolutionWays Networks::choose_convolutions_of(const SiteRegistry& sites,
                                                 const std::stop_token& stop) {
  set_threads(world().threads_per_rank());
  const ConvolutionWays ways = choose_convolutions(sites, usual_images(model_), extra_weight_bytes_,
                                                   convolution_times_, stop);
  use_all_threads(world());
  extra_weight_bytes_ -= ways.extra_weight_bytes;
  return ways;
}

std::unique_ptr<Scheduler> Networks::scheduler(const GenerationRequest& request) const {
  std::unique_ptr<Scheduler> scheduler =
      make_scheduler(scheduler_config_, scheduler_source_,
                     {request.scheduler, request.timestep_spacing, request.sigmas},
                     is_xl() ? OutdatedValues::keep : OutdatedValues::mend);
  scheduler->set_steps(request.steps, request.steps - steps_made(request));
  return scheduler;
}

void Networks::check_words(const GenerationRequest& request) const {
  if (request.prompt_syntax != PromptSyntax::comfyui) return;
  std::vector<std::string> words;
  words.reserve(words_.size());
  for (const TextualWord& word : words_) words.push_back(word.word);
  for (const std::string& prompt : request.prompts) check_weighted(prompt, words);
  for (const std::string& prompt : request.negative_prompts.value_or(std::vector<std::string>())) {
    check_weighted(prompt, words);
  }
}

void Networks::load_text(const std::stop_token& stop) {
  if (text_) return;
  TextEncoders text = on_device(ranks_.first_gpu(), [&](at::Device device) {
    return TextEncoders(checkpoint_, loras_, words_, is_xl(), scalar_type_of(dtype_), device, stop);
  });
  const UNetConfig& config = unet().config();
  check<CheckpointError>(
      text.text_width() == config.text_width &&
          (!config.added || text.pooled_width() == config.pooled_width()),
      "the text encoders make texts of {} values, {} pooled, and the U-Net reads {}, {} pooled: "
      "they are not of the same model",
      text.text_width(), text.pooled_width(), config.text_width, config.pooled_width());
  text_ = std::move(text);
}

void Networks::load_image_encoders(const std::stop_token& stop) {
  if (image_encoders_) return;
  image_encoders_ = on_device(ranks_.first_gpu(), [&](at::Device device) {
    return ImageEncoders(ip_adapters_, scalar_type_of(dtype_), device, stop);
  });
}

template <typename Half>
OnDevices<Half> Networks::load_vae(const std::stop_token& stop) const {
  const Component component = checkpoint_.component("vae");
  auto halves = ranks_.on_each_device([&](at::Device device) {
    return Half(component.config(),
                WeightScope(component.weights(), scalar_type_of(vae_dtype()), device, stop));
  });
  const Half& first = halves.at(ranks_.first_gpu());
  check<CheckpointError>(first.latent_channels() == model_.latent_channels,
                         "the VAE's latents have {} channels, the U-Net's {}: they are not of the "
                         "same model",
                         first.latent_channels(), model_.latent_channels);
  return halves;
}

void Networks::load_decoder(const std::stop_token& stop) {
  if (!decoders_.empty()) return;
  auto decoders = load_vae<VaeDecoder>(stop);
  choose_convolutions_of(decoders.at(ranks_.first_gpu()).sites(), stop);
  decoders_ = std::move(decoders);
}

// Its convolutions compute by definition: what memory is left for others to be transformed must not
// depend on which half was needed first.
void Networks::load_encoder(const std::stop_token& stop) {
  if (encoders_.empty()) encoders_ = load_vae<VaeEncoder>(stop);
}

}  // namespace pcpp
