#include "io/model_family.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <numeric>
#include <string_view>
#include <vector>

#include "base/check.h"
#include "io/embedded_files.h"
#include "io/json_file.h"

namespace pcpp {
namespace {

using nlohmann::json;

constexpr std::int64_t kSd2TextWidth = 1024;
constexpr std::int64_t kSdxlTextWidth = 2048;
constexpr std::int64_t kRefinerTextWidth = 1280;

// What the U-Net's cross-attention reads.
std::int64_t text_width(const SingleFile& file, const std::string& source) {
  const auto& unet = file.components.at("unet");
  const auto key = std::ranges::find_if(
      unet, [](const auto& entry) { return entry.first.ends_with(".attn2.to_k.weight"); });
  check<CheckpointError>(key != unet.end() && key->second.shape.size() == 2,
                         "{}: its U-Net attends to no text: it is of no model that is supported: "
                         "take one of Stable Diffusion 1.x, 2.x or SDXL",
                         source);
  return key->second.shape[1];
}

std::string_view configs_text(std::int64_t width, const std::string& source) {
  if (width == 768) return sd1_configs_text();
  if (width == kSd2TextWidth) return sd2_configs_text();
  if (width == kSdxlTextWidth) return sdxl_configs_text();
  check<CheckpointError>(width != kRefinerTextWidth,
                         "{}: it is SDXL's refiner, which is not supported: take the base model",
                         source);
  fail<CheckpointError>(
      "{}: its U-Net reads texts of {} values, and those of Stable Diffusion 1.x read 768, of 2.x "
      "1024, of SDXL 2048: name a folder with its configs",
      source, width);
}

// Those that predict velocity, at 768 pixels: by one bias that lies wider in them, as ComfyUI tells
// them. Those for inpainting do not.
bool predicts_velocity(const std::map<std::string, TensorView>& unet, const std::string& source) {
  constexpr const char* kTelling = "up_blocks.3.attentions.2.transformer_blocks.0.norm1.bias";
  constexpr double kBound = 0.09;  // of its standard deviation
  const auto found = unet.find(kTelling);
  if (found == unet.end()) return false;
  std::vector<float> values(static_cast<std::size_t>(found->second.element_count()));
  to_float(found->second, source + ": " + kTelling, values);
  const auto count = static_cast<double>(values.size());
  const double mean = std::accumulate(values.begin(), values.end(), 0.0) / count;
  double squares = 0;
  for (const float value : values) squares += (value - mean) * (value - mean);
  return std::sqrt(squares / count) > kBound;
}

// Distilled and altered ones have fewer or more, and no other way to tell.
void check_count(const json& count, const std::map<std::string, TensorView>& unet,
                 const std::string& source) {
  check<CheckpointError>(count == unet.size(),
                         "{}: its U-Net has {} tensors, and its family's {}: it is another model, "
                         "distilled from that or altered: name a folder with its configs",
                         source, unet.size(), count.get<std::int64_t>());
}

}  // namespace

bool adapt_scheduler(json& scheduler, const SingleFile& file,
                     const std::map<std::string, TensorView>& tensors, const std::string& source) {
  const bool is_edm = tensors.contains("edm_mean") || tensors.contains("edm_vpred.sigma_max");
  if (!is_edm && !tensors.contains("v_pred")) return false;
  if (text_width(file, source) != kSdxlTextWidth) return false;
  check<CheckpointError>(!is_edm,
                         "{}: it is drawn by EDM's schedulers, which are not supported: take "
                         "another model",
                         source);
  scheduler["prediction_type"] = "v_prediction";
  if (tensors.contains("ztsnr")) {
    scheduler["rescale_betas_zero_snr"] = true;
    scheduler["timestep_spacing"] = "trailing";
  }
  return true;
}

std::map<std::string, json> family_configs(const SingleFile& file,
                                           const std::map<std::string, TensorView>& tensors,
                                           const std::string& source) {
  const std::map<std::string, TensorView>& unet = file.components.at("unet");
  const std::int64_t width = text_width(file, source);
  auto configs = parse_json(configs_text(width, source), "the library's configs")
                     .get<std::map<std::string, json>>();
  check_count(configs.extract("unet_tensors").mapped(), unet, source);
  const auto conv_in = unet.find("conv_in.weight");
  const bool has_channels = conv_in != unet.end() && conv_in->second.shape.size() == 4;
  configs.at("unet")["in_channels"] = has_channels ? conv_in->second.shape[1] : 4;
  const bool for_inpainting = configs.at("unet").at("in_channels") != 4;
  if (width == kSd2TextWidth && !for_inpainting && predicts_velocity(unet, source)) {
    configs.at("unet")["sample_size"] = 96;
    configs.at("scheduler")["prediction_type"] = "v_prediction";
  }
  adapt_scheduler(configs.at("scheduler"), file, tensors, source);
  return configs;
}

}  // namespace pcpp
