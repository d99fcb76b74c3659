// Runs one function on the bands of an image, a rank a thread, through the real plan, cache and
// transport, and puts the bands together again.
#ifndef PCPP_TESTS_SUPPORT_RUN_PATCHES_H_
#define PCPP_TESTS_SUPPORT_RUN_PATCHES_H_

#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/cat.h>
#include <c10/core/InferenceMode.h>

#include <chrono>
#include <cstddef>
#include <functional>
#include <optional>
#include <vector>

#include "cache/exchange_plan.h"
#include "cache/stale_cache.h"
#include "ops/patch_context.h"
#include "ops/site_registry.h"
#include "parallel/local_transport.h"
#include "parallel/rank_group.h"
#include "parallel/topology.h"

namespace pcpp {

struct PatchSetup {
  int patches = 1;
  std::int64_t row_unit = 1;  // latent rows that every level keeps whole
  PlanShape shape;
  ParallelConfig parallel;  // its first sync_steps steps are synchronous
  int steps = 1;
  Courier* courier = nullptr;  // none: pieces are delivered at once
};

// Computes one step of one rank: the result's own rows are its second dimension from the end in an
// image [batch, channels, rows, columns], and the middle one of tokens [batch, tokens, width].
using PatchFunction = std::function<at::Tensor(int step, PatchContext& context)>;

// The rows of `whole` [batch, channels, rows, columns] at `level` that are the context's band, with
// up to `halo` rows more on each side that has them.
inline at::Tensor band_rows(const at::Tensor& whole, const PatchContext& context, int level = 0,
                            std::int64_t halo = 0) {
  if (context.is_whole()) return whole;
  const RowRange band = context.band(level);
  const RowRange rows = intersect({band.begin - halo, band.end + halo}, RowRange{0, whole.size(2)});
  return whole.narrow(2, rows.begin, rows.size());
}

// The same of tokens [batch, rows * columns, width].
inline at::Tensor band_tokens(const at::Tensor& whole, const PatchContext& context,
                              std::int64_t columns, int level = 0) {
  if (context.is_whole()) return whole;
  const RowRange band = context.band(level);
  return whole.narrow(1, band.begin * columns, band.size() * columns).contiguous();
}

// Calls function(step, context) on every rank for each step in order and returns each step's bands,
// by patch. The first exception of a rank is thrown again.
inline std::vector<std::vector<at::Tensor>> run_bands(const PatchSetup& setup,
                                                      const SiteRegistry& sites,
                                                      const PatchFunction& function) {
  const Topology topology(setup.patches, Guidance::batched, 1, setup.shape.latent_rows,
                          setup.row_unit, setup.parallel.bands);
  const ExchangePlan plan(sites.sites(), topology, setup.parallel, setup.shape);
  std::vector<std::vector<at::Tensor>> results(
      static_cast<std::size_t>(setup.steps),
      std::vector<at::Tensor>(static_cast<std::size_t>(setup.patches)));
  const auto kind_of = [&](int step) {
    return step < setup.parallel.sync_steps ? StepKind::synchronous : StepKind::steady;
  };
  LocalHub hub(setup.patches, setup.courier);
  at::set_num_threads(1);  // the ranks are threads enough
  run_ranks(hub, [&](Transport& transport) {
    const c10::InferenceMode inference;
    at::set_num_threads(1);
    StaleCache cache(plan, transport, std::chrono::minutes(1));
    PatchContext context(plan, cache, transport.rank(), sites.condition_slots());
    for (int step = 0; step < setup.steps; ++step) {
      const bool last = step + 1 == setup.steps;
      cache.begin_step(kind_of(step), last ? std::nullopt : std::optional(kind_of(step + 1)));
      results[static_cast<std::size_t>(step)][static_cast<std::size_t>(transport.rank())] =
          function(step, context);
      cache.end_step();
    }
  });
  return results;
}

// The same with each step's bands joined to the whole image.
inline std::vector<at::Tensor> run_patches(const PatchSetup& setup, const SiteRegistry& sites,
                                           const PatchFunction& function) {
  std::vector<at::Tensor> images;
  for (const std::vector<at::Tensor>& bands : run_bands(setup, sites, function)) {
    images.push_back(at::cat(bands, bands.front().dim() == 4 ? 2 : 1));
  }
  return images;
}

}  // namespace pcpp

#endif  // PCPP_TESTS_SUPPORT_RUN_PATCHES_H_
