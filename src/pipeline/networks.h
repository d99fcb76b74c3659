// A model's networks where a world's ranks compute.
#ifndef PCPP_PIPELINE_NETWORKS_H_
#define PCPP_PIPELINE_NETWORKS_H_

#include <cstdint>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <stop_token>
#include <vector>

#include "io/checkpoint.h"
#include "io/lora_file.h"
#include "models/unet.h"
#include "models/vae_decoder.h"
#include "models/vae_encoder.h"
#include "pcpp/pipeline.h"
#include "pipeline/conditions.h"
#include "pipeline/control_nets.h"
#include "pipeline/image_prompts.h"
#include "pipeline/ranks.h"
#include "schedulers/scheduler.h"

namespace pcpp {

// The U-Net, its ControlNets and what it has of IP-Adapters are loaded at once, the others for the
// first request that needs them. Not thread-safe.
class Networks {
 public:
  // Throws CheckpointError, ConfigError for options that the world cannot meet, and Cancelled once
  // their stop is requested. Called in inference mode, as all that follows.
  Networks(const std::filesystem::path& model, const World& world, const PipelineOptions& options);

  const Ranks& ranks() const { return ranks_; }
  const World& world() const { return ranks_.world(); }
  const ModelInfo& model() const { return model_; }
  const UNet& unet() const { return ranks_.unet(); }
  bool is_xl() const { return unet().config().added.has_value(); }
  DataType dtype() const { return dtype_; }
  DataType vae_dtype() const { return vae_dtype_; }
  // Of the U-Net's convolutions.
  const ConvolutionWays& convolutions() const { return convolutions_; }

  // With the steps that are made of a checked request. Throws as make_scheduler() and set_steps()
  // do.
  std::unique_ptr<Scheduler> scheduler(const GenerationRequest& request) const;

  // Throws ConfigError for prompts of a checked request that name a textual inversion which there
  // is not.
  void check_words(const GenerationRequest& request) const;

  // Throws CheckpointError for text encoders of another model, and Cancelled; nothing is kept of
  // them then.
  void load_text(const std::stop_token& stop);
  const TextEncoders& text() const { return *text_; }  // after load_text()

  // Throws CheckpointError, and Cancelled; nothing is kept of them then.
  void load_image_encoders(const std::stop_token& stop);
  const ImageEncoders& image_encoders() const { return *image_encoders_; }  // likewise

  // Throws CheckpointError for the VAE of another model, and Cancelled; nothing is kept of it then.
  void load_decoder(const std::stop_token& stop);
  const VaeDecoder& decoder(int rank = 0) const { return decoders_.at(ranks_.gpu_of(rank)); }
  // Its other half, likewise.
  void load_encoder(const std::stop_token& stop);
  const VaeEncoder& encoder(int rank = 0) const { return encoders_.at(ranks_.gpu_of(rank)); }

 private:
  UNet load_unet(at::Device device, const std::stop_token& stop) const;
  template <typename Half>
  OnDevices<Half> load_vae(const std::stop_token& stop) const;
  // For a network that the ranks compute.
  ConvolutionWays choose_convolutions_of(const SiteRegistry& sites, const std::stop_token& stop);

  DataType dtype_;
  Checkpoint checkpoint_;
  UNetConfig unet_config_;
  std::vector<LoraFile> loras_;
  std::vector<TextualWord> words_;
  std::vector<ControlNetFile> control_nets_;
  std::vector<IpAdapterFile> ip_adapters_;
  std::string scheduler_source_;
  nlohmann::json scheduler_config_;  // that it held
  ModelInfo model_;
  DataType vae_dtype_;
  Ranks ranks_;
  std::optional<TextEncoders> text_;
  std::optional<ImageEncoders> image_encoders_;
  OnDevices<VaeDecoder> decoders_;
  OnDevices<VaeEncoder> encoders_;
  std::int64_t extra_weight_bytes_;  // not yet taken
  std::filesystem::path convolution_times_;
  ConvolutionWays convolutions_;
};

}  // namespace pcpp

#endif  // PCPP_PIPELINE_NETWORKS_H_
