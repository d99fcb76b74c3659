#include "pipeline/model_info.h"

#include "base/check.h"
#include "io/user_cache.h"

namespace pcpp {

namespace {

constexpr std::int64_t kDefaultSide = 64;  // latent rows, where the config has no sample_size

}  // namespace

ModelInfo model_info(const Checkpoint& checkpoint, const UNetConfig& unet) {
  check<CheckpointError>(unet.in_channels == unet.out_channels,
                         "{}: the U-Net takes {} channels and predicts {}: only text-to-image "
                         "models are supported",
                         checkpoint.folder().string(), unet.in_channels, unet.out_channels);
  ModelInfo info;
  info.latent_channels = static_cast<int>(unet.in_channels);
  info.row_unit = 1 << (unet.levels.size() - 1);
  if (checkpoint.has("vae")) {
    ConfigReader vae = checkpoint.component("vae").config();
    info.scale = 1 << (vae.integers("block_out_channels").size() - 1);
  }
  const auto side = [&](std::int64_t latent) {
    return static_cast<int>(latent > 0 ? latent : kDefaultSide) * info.scale;
  };
  info.default_width = side(unet.sample_columns);
  info.default_height = side(unet.sample_rows);
  return info;
}

ImageShape usual_images(const ModelInfo& model) {
  return {2, model.default_height / model.scale, model.default_width / model.scale};
}

std::filesystem::path default_convolution_times() {
  const std::filesystem::path cache = user_cache();
  return cache.empty() ? cache : cache / "convolutions.json";
}

int ModelInfo::max_patches(int height) const {
  if (height <= 0 || height % scale != 0) return 0;
  const int rows = height / scale;
  return (rows + row_unit - 1) / row_unit;
}

ModelInfo read_model_info(const std::filesystem::path& folder) {
  const Checkpoint checkpoint = Checkpoint::open(folder);
  return model_info(checkpoint, read_unet_config(checkpoint.component("unet").config()));
}

}  // namespace pcpp
