#include "pipeline/vae_bands.h"

#include <ATen/ops/cat.h>
#include <ATen/ops/isfinite.h>

#include <algorithm>
#include <functional>
#include <optional>
#include <utility>
#include <vector>

#include "base/check.h"
#include "cache/exchange_plan.h"
#include "cache/stale_cache.h"
#include "kernels/moments.h"
#include "ops/patch_context.h"
#include "ops/span_log.h"
#include "parallel/topology.h"
#include "pipeline/tensors.h"
#include "pipeline/trace.h"

namespace pcpp {

namespace {

constexpr int kEncodingStep = -1;  // as StepRecord says

// What all ranks share; nothing in it changes while they run.
struct Task {
  const char* name;  // of the span
  const SiteRegistry& sites;
  const ExchangePlan& plan;
  const at::Tensor& input;
  // What the network on a rank's device makes of a picture's rows.
  std::function<at::Tensor(int rank, const at::Tensor& rows, PatchContext& context)> half;
  const GenerationRequest& request;
  int step = 0;  // that it counts as
  std::optional<Clock::time_point> trace_zero;
};

struct Band {
  at::Tensor output;  // the rank's rows of all pictures, float32 on the CPU
  StepRecord record;
  RankTrace trace;  // where asked for
};

ExchangePlan plan_of(const SiteRegistry& sites, int ranks, const PlanShape& shape) {
  const int bands = std::min({ranks, most_patches(shape.latent_rows, 1), kMostOtherBands + 1});
  return ExchangePlan::of_one_run(
      sites.sites(), Topology(bands, Guidance::batched, 1, shape.latent_rows, 1), shape);
}

// The rank's rows of all pictures and, where they go on, one row more on each side.
at::Tensor band_with_halo(const Task& task, const PatchContext& context, int rank) {
  const std::int64_t scale = task.input.size(2) / task.plan.shape().latent_rows;
  const RowRange own = task.plan.topology().band_of(rank);
  return task.input.slice(2, scale * own.begin - (context.is_first() ? 0 : 1),
                          scale * own.end + (context.is_last() ? 0 : 1));
}

Band run_band(const Task& task, at::Device device, Transport& transport) {
  const int rank = transport.rank();
  StepLog log(transport.timeline(), task.trace_zero, task.step);
  StaleCache cache(task.plan, transport, task.request.peer_timeout, task.request.stop);
  PatchContext context(task.plan, cache, rank, 0);
  const at::Tensor rows = band_with_halo(task, context, rank).to(device);
  Band band;
  band.record.step = task.step;
  std::vector<at::Tensor> pictures;
  log.begin_step();
  {
    const SpanScope scope(task.name);
    for (std::int64_t picture = 0; picture < rows.size(0); ++picture) {
      cache.begin_step(StepKind::synchronous, std::nullopt);
      pictures.push_back(task.half(rank, rows.narrow(0, picture, 1), context).to(at::kFloat));
      cache.end_step();
      band.record.sent += cache.sent();
    }
  }
  log.end_step();
  transport.drain(deadline_in(task.request.peer_timeout));
  log.time(band.record);
  band.trace = log.trace(task.plan, task.sites.sites());
  band.output = at::cat(pictures).to(at::kCPU);
  return band;
}

// The pictures of all bands, which lie from the top.
at::Tensor run(const Task& task, const Ranks& ranks, const char* what,
               std::optional<StepRecord> RankReport::*record, GenerationResult& result) {
  std::vector<Band> bands(static_cast<std::size_t>(task.plan.topology().world_size()));
  ranks.run(task.plan.topology().world_size(),
            {task.request.peer_timeout, AttentionChoice(), task.request.stop},
            [&](Transport& transport) {
              const int rank = transport.rank();
              bands[static_cast<std::size_t>(rank)] =
                  run_band(task, ranks.unet(rank).device(), transport);
            });
  std::vector<at::Tensor> parts;
  for (std::size_t rank = 0; rank < bands.size(); ++rank) {
    parts.push_back(bands[rank].output);
    result.ranks[rank].*record = bands[rank].record;
    if (result.trace) append(std::move(bands[rank].trace), result.trace->ranks[rank]);
  }
  return ranks.outside([&] {
    at::Tensor whole = at::cat(parts, 2);
    check<DeviceError>(whole.isfinite().all().item<bool>(),
                       "{} is infinite or not a number: try float32, or another VAE", what);
    return whole;
  });
}

}  // namespace

at::Tensor encode(const Networks& networks, const GenerationRequest& request,
                  const at::Tensor& pixels, Clock::time_point trace_zero,
                  GenerationResult& result) {
  const Clock::time_point begin = Clock::now();
  const VaeEncoder& first = networks.encoder();
  const auto zero = request.trace ? std::optional(trace_zero) : std::nullopt;
  const ExchangePlan plan = plan_of(first.sites(), static_cast<int>(result.ranks.size()),
                                    {pixels.size(2) / first.scale(), pixels.size(3) / first.scale(),
                                     first.latent_channels(), 1, networks.vae_dtype()});
  const auto half = [&](int rank, const at::Tensor& rows, PatchContext& context) {
    return networks.encoder(rank).encode(rows, context, request.stop);
  };
  const Task task{"encode", first.sites(), plan, pixels, half, request, kEncodingStep, zero};
  at::Tensor posterior =
      run(task, networks.ranks(), "an encoded picture", &RankReport::encode, result);
  result.times.encode_seconds = seconds_since(begin);
  return posterior;
}

void decode(const Networks& networks, const GenerationRequest& request, const at::Tensor& latents,
            Clock::time_point trace_zero, GenerationResult& result) {
  const Clock::time_point begin = Clock::now();
  const VaeDecoder& first = networks.decoder();
  const auto zero = request.trace ? std::optional(trace_zero) : std::nullopt;
  const ExchangePlan plan =
      plan_of(first.sites(), static_cast<int>(result.ranks.size()),
              {latents.size(2), latents.size(3), first.latent_channels(), 1, networks.vae_dtype()});
  const auto half = [&](int rank, const at::Tensor& rows, PatchContext& context) {
    return networks.decoder(rank).decode(rows, context, request.stop);
  };
  const auto behind_the_last = static_cast<int>(result.ranks.front().steps.size());
  const Task task{"decode", first.sites(), plan, latents, half, request, behind_the_last, zero};
  const at::Tensor pictures =
      run(task, networks.ranks(), "a decoded picture", &RankReport::decode, result);
  networks.ranks().outside([&] {
    for (const at::Tensor& picture : pictures.unbind()) result.images.push_back(to_image(picture));
  });
  result.times.decode_seconds = seconds_since(begin);
}

}  // namespace pcpp
