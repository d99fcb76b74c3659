#include "pipeline/decode.h"

#include <ATen/ops/cat.h>
#include <ATen/ops/isfinite.h>

#include <algorithm>
#include <optional>

#include "base/check.h"
#include "cache/stale_cache.h"
#include "kernels/moments.h"
#include "ops/patch_context.h"
#include "ops/span_log.h"
#include "parallel/topology.h"
#include "pipeline/tensors.h"
#include "pipeline/trace.h"

namespace pcpp {

ExchangePlan decode_plan(const VaeDecoder& vae, DataType dtype, int ranks, std::int64_t rows,
                         std::int64_t columns) {
  const int bands = std::min({ranks, most_patches(rows, 1), kMostOtherBands + 1});
  const Topology topology(bands, Guidance::batched, 1, rows, 1);
  return ExchangePlan::of_one_run(vae.sites().sites(), topology,
                                  {rows, columns, vae.latent_channels(), 1, dtype});
}

DecodedBand decode_band(const DecodeTask& task, const VaeDecoder& vae, at::Device device,
                        Transport& transport) {
  StepLog log(transport.timeline(), task.trace_zero, task.step);
  StaleCache cache(task.plan, transport, task.peer_timeout, task.stop);
  PatchContext context(task.plan, cache, transport.rank(), 0);
  const RowRange own = task.plan.topology().band_of(transport.rank());
  const at::Tensor rows =
      task.latents
          .slice(2, own.begin - (context.is_first() ? 0 : 1), own.end + (context.is_last() ? 0 : 1))
          .to(device);
  DecodedBand band;
  band.record.step = task.step;
  std::vector<at::Tensor> pictures;
  log.begin_step();
  {
    const SpanScope scope("decode");
    for (std::int64_t picture = 0; picture < rows.size(0); ++picture) {
      cache.begin_step(StepKind::synchronous, std::nullopt);
      pictures.push_back(vae.decode(rows.narrow(0, picture, 1), context, task.stop).to(at::kFloat));
      cache.end_step();
      band.record.sent += cache.sent();
    }
  }
  log.end_step();
  transport.drain(deadline_in(task.peer_timeout));
  log.time(band.record);
  band.trace = log.trace(task.plan, vae.sites().sites());
  band.pictures = at::cat(pictures).to(at::kCPU);
  return band;
}

std::vector<Image> joined(const std::vector<DecodedBand>& bands) {
  std::vector<at::Tensor> parts;
  for (const DecodedBand& band : bands) parts.push_back(band.pictures);
  const at::Tensor pictures = at::cat(parts, 2);
  check<DeviceError>(pictures.isfinite().all().item<bool>(),
                     "a decoded picture is infinite or not a number: try float32, or another VAE");
  std::vector<Image> images;
  for (const at::Tensor& picture : pictures.unbind()) images.push_back(to_image(picture));
  return images;
}

}  // namespace pcpp
