#include "io/model_family.h"

#include <algorithm>
#include <string_view>

#include "base/check.h"
#include "base/log.h"
#include "io/embedded_files.h"
#include "io/json_file.h"

namespace pcpp {
namespace {

using nlohmann::json;

constexpr std::int64_t kRefinerTextWidth = 1280;

// What the U-Net's cross-attention reads.
std::int64_t text_width(const SingleFile& file, const std::string& source) {
  const auto& unet = file.components.at("unet");
  const auto key = std::ranges::find_if(
      unet, [](const auto& entry) { return entry.first.ends_with(".attn2.to_k.weight"); });
  check<CheckpointError>(key != unet.end() && key->second.shape.size() == 2,
                         "{}: its U-Net attends to no text: it is of no model that is supported",
                         source);
  return key->second.shape[1];
}

std::string_view configs_text(std::int64_t width, const std::string& source) {
  if (width == 768) return sd1_configs_text();
  if (width == 1024) return sd2_configs_text();
  if (width == 2048) return sdxl_configs_text();
  check<CheckpointError>(width != kRefinerTextWidth,
                         "{}: it is SDXL's refiner, which is not supported", source);
  fail<CheckpointError>(
      "{}: its U-Net reads texts of {} values, and those of Stable Diffusion 1.x read 768, of 2.x "
      "1024, of SDXL 2048: name a folder with its configs",
      source, width);
}

// Files say in tensors of these names what their scheduler is to be, as ComfyUI reads them.
void adapt_scheduler(json& scheduler, const std::map<std::string, TensorView>& tensors,
                     const std::string& source) {
  check<CheckpointError>(!tensors.contains("edm_mean") && !tensors.contains("edm_vpred.sigma_max"),
                         "{}: it is drawn by EDM's schedulers, which are not supported", source);
  if (tensors.contains("v_pred")) scheduler["prediction_type"] = "v_prediction";
  if (tensors.contains("ztsnr")) {
    scheduler["rescale_betas_zero_snr"] = true;
    scheduler["timestep_spacing"] = "trailing";
  }
}

}  // namespace

std::map<std::string, json> family_configs(const SingleFile& file,
                                           const std::map<std::string, TensorView>& tensors,
                                           const std::string& source) {
  const std::string_view text = configs_text(text_width(file, source), source);
  auto configs = parse_json(text, "the library's configs").get<std::map<std::string, json>>();
  const auto conv_in = file.components.at("unet").find("conv_in.weight");
  if (conv_in != file.components.at("unet").end() && conv_in->second.shape.size() == 4) {
    configs.at("unet")["in_channels"] = conv_in->second.shape[1];
  }
  adapt_scheduler(configs.at("scheduler"), tensors, source);
  return configs;
}

}  // namespace pcpp
