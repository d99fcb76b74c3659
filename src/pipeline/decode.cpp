#include "pipeline/decode.h"

#include <ATen/ops/cat.h>
#include <ATen/ops/isfinite.h>

#include <algorithm>
#include <optional>

#include "base/check.h"
#include "base/deadline.h"
#include "cache/stale_cache.h"
#include "kernels/moments.h"
#include "ops/patch_context.h"
#include "parallel/topology.h"
#include "pipeline/tensors.h"

namespace pcpp {

ExchangePlan decode_plan(const VaeDecoder& vae, DataType dtype, int ranks, std::int64_t rows,
                         std::int64_t columns) {
  const int bands = std::min({ranks, most_patches(rows, 1), kMostOtherBands + 1});
  const Topology topology(bands, Guidance::batched, 1, rows, 1);
  return ExchangePlan::of_one_run(vae.sites().sites(), topology,
                                  {rows, columns, vae.latent_channels(), 1, dtype});
}

at::Tensor decode_band(const DecodeTask& task, const VaeDecoder& vae, at::Device device,
                       Transport& transport) {
  StaleCache cache(task.plan, transport, task.peer_timeout, task.stop);
  PatchContext context(task.plan, cache, transport.rank(), 0);
  const RowRange band = task.plan.topology().band_of(transport.rank());
  const at::Tensor rows = task.latents
                              .slice(2, band.begin - (context.is_first() ? 0 : 1),
                                     band.end + (context.is_last() ? 0 : 1))
                              .to(device);
  std::vector<at::Tensor> pictures;
  for (std::int64_t picture = 0; picture < rows.size(0); ++picture) {
    cache.begin_step(StepKind::synchronous, std::nullopt);
    pictures.push_back(vae.decode(rows.narrow(0, picture, 1), context, task.stop).to(at::kFloat));
    cache.end_step();
  }
  transport.drain(deadline_in(task.peer_timeout));
  return at::cat(pictures).to(at::kCPU);
}

std::vector<Image> joined(const std::vector<at::Tensor>& bands) {
  const at::Tensor pictures = at::cat(bands, 2);
  check<DeviceError>(pictures.isfinite().all().item<bool>(),
                     "a decoded picture is infinite or not a number: try float32, or another VAE");
  std::vector<Image> images;
  for (const at::Tensor& picture : pictures.unbind()) images.push_back(to_image(picture));
  return images;
}

}  // namespace pcpp
