// The options of a UNet2DConditionModel, as far as SD 1.x, SD 2.x and SDXL use them.
#ifndef PCPP_MODELS_UNET_CONFIG_H_
#define PCPP_MODELS_UNET_CONFIG_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "io/config_reader.h"

namespace pcpp {

// One resolution of the U-Net: its block on the way down and the one on the way up.
struct UNetLevel {
  bool operator==(const UNetLevel&) const = default;

  std::int64_t channels = 0;
  std::int64_t layers = 0;  // on the way down; one more on the way up
  std::int64_t heads = 0;
  // Layers of the transformer after each of the block's ResNet blocks (0: norm and projections
  // alone, as in SDXL's smaller ControlNets); empty where it has no transformers.
  std::vector<std::int64_t> down_depths;
  std::vector<std::int64_t> up_depths;
};

// SDXL's second time embedding ("text_time").
struct AddedEmbedding {
  bool operator==(const AddedEmbedding&) const = default;

  std::int64_t time_width = 0;   // of each time id's sinusoid
  std::int64_t input_width = 0;  // the pooled text and all sinusoids, side by side

  static constexpr std::int64_t kTimeIds = 6;
  std::int64_t pooled_width() const { return input_width - kTimeIds * time_width; }
};

struct UNetConfig {
  bool operator==(const UNetConfig&) const = default;

  // Whether a block at the level, or the middle below it, has transformers.
  bool attends_at(std::size_t level) const;
  // Of SDXL's pooled text; 0 where the U-Net takes none.
  std::int64_t pooled_width() const { return added ? added->pooled_width() : 0; }
  // Latent rows that make one row of the lowest level: bands are cut at multiples of so many.
  std::int64_t row_unit() const { return std::int64_t{1} << (levels.size() - 1); }

  std::int64_t in_channels = 0;
  std::int64_t out_channels = 0;
  // The size in latent rows and columns that the model was trained for; 0 where it does not say.
  std::int64_t sample_rows = 0;
  std::int64_t sample_columns = 0;
  std::vector<UNetLevel> levels;  // the latent's own resolution first
  // Likewise of the one transformer in the middle, between two ResNet blocks; empty: there is one
  // ResNet block and no transformer; absent: there is no middle block, as in BK-SDM's smaller
  // models.
  std::optional<std::vector<std::int64_t>> middle_depths;
  std::int64_t norm_groups = 0;
  double norm_epsilon = 0;
  std::int64_t text_width = 0;  // cross_attention_dim
  bool linear_projection = false;
  bool flip_sin_to_cos = true;
  double frequency_shift = 0;
  std::optional<AddedEmbedding> added;
  // Of the sinusoid of the guidance scale (time_cond_proj_dim); 0 where the U-Net is not told it.
  std::int64_t guidance_width = 0;
};

// Throws CheckpointError naming the option that is not supported or does not fit the others.
// `attention_head_dim` is the number of heads, as diffusers reads it. `upcast_attention` has no
// effect: attention scores are accumulated and normalised in float32 in any case.
UNetConfig read_unet_config(ConfigReader config);

}  // namespace pcpp

#endif  // PCPP_MODELS_UNET_CONFIG_H_
