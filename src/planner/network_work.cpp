#include "planner/network_work.h"

#include <ATen/ops/zeros.h>
#include <c10/core/InferenceMode.h>
#include <fmt/format.h>

#include <algorithm>

#include "ops/elements.h"

namespace pcpp {

namespace {

constexpr std::int64_t kTextTokens = 77;  // CLIP's, whatever the prompt

}  // namespace

PlaceholderInputs::PlaceholderInputs(const NetworkConfig& network, std::int64_t batch,
                                     std::int64_t band_rows, std::int64_t halo,
                                     std::int64_t columns, const at::TensorOptions& options)
    : latents(at::zeros({batch, network.unet.in_channels, band_rows + halo, columns}, options)),
      timestep(at::zeros({network.unet.guidance_width > 0 ? 2 : 1}, options.dtype(at::kFloat))),
      text(at::zeros({batch, kTextTokens, network.unet.text_width}, options)) {
  const UNetConfig& config = network.unet;
  const at::Tensor image =
      at::zeros({batch, config.levels.front().channels, band_rows, columns}, options);
  controls.resize(network.controls.size(), {image.contiguous(at::MemoryFormat::ChannelsLast)});
  if (!config.added) return;
  added = {at::zeros({batch, config.added->pooled_width()}, options),
           at::zeros({batch, AddedEmbedding::kTimeIds}, options.dtype(at::kFloat))};
}

std::string shape_in_batch(const std::string& shape, std::int64_t batch) {
  return fmt::format("{} x{}", shape, batch);
}

UNet made_unet(const NetworkConfig& config, const std::function<WeightScope()>& weights) {
  std::vector<WeightScope> of_controls;
  while (of_controls.size() < config.controls.size()) of_controls.push_back(weights());
  return {config, weights(), of_controls};
}

NetworkWork::NetworkWork(const NetworkConfig& config, DataType dtype, std::int64_t columns)
    : columns_(columns),
      dtype_(dtype),
      element_bytes_(static_cast<std::int64_t>(c10::elementSize(scalar_type_of(dtype)))),
      unet_(made_unet(config, [&] { return WeightScope::shapes_only(scalar_type_of(dtype)); })) {}

const BandWork& NetworkWork::of(std::int64_t rows, std::int64_t batch) {
  const auto key = std::pair(rows, batch);
  const auto found = counted_.find(key);
  return found != counted_.end() ? found->second
                                 : counted_.emplace(key, count(rows, batch)).first->second;
}

BandWork NetworkWork::count(std::int64_t rows, std::int64_t batch) {
  const c10::InferenceMode inference;
  const PlaceholderInputs inputs(unet_.network(), batch, rows, 0, columns_,
                                 at::TensorOptions(scalar_type_of(dtype_)).device(at::kMeta));
  const auto run = [&](PatchContext& context) {
    unet_(inputs.latents, inputs.timestep, inputs.text, inputs.added, context, inputs.controls);
  };
  auto context = contexts_.find(batch);
  if (context == contexts_.end()) {
    context = contexts_.emplace(batch, PatchContext(unet_.sites().condition_slots())).first;
    run(context->second);  // the first step, which fills the text's slots
  }
  WorkLog log;
  run(context->second);

  BandWork result{{}, log.elementwise_bytes(), log.peak_bytes()};
  for (const Work& work : log.works()) {
    if (work.kind == WorkKind::exchange) continue;
    const std::vector<Site>& sites = unet_.sites().sites();
    const int level = work.site ? sites[static_cast<std::size_t>(*work.site)].level : 0;
    const auto alike =
        std::find_if(result.items.begin(), result.items.end(), [&](const WorkItem& item) {
          return item.work.kind == work.kind && item.work.amount == work.amount &&
                 item.work.shape == shape_in_batch(work.shape, batch) &&
                 item.work.keys == work.keys && item.level == level &&
                 item.work.site.has_value() == work.site.has_value();
        });
    if (alike == result.items.end()) {
      result.items.push_back({work, level, 1});
      result.items.back().work.shape = shape_in_batch(work.shape, batch);
    } else {
      ++alike->count;
    }
  }
  return result;
}

}  // namespace pcpp
