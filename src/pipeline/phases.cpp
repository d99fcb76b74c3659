#include "pipeline/phases.h"

#include <algorithm>
#include <iterator>

#include "base/log.h"
#include "parallel/topology.h"

namespace pcpp {

namespace {

Topology topology_of(const ParallelConfig& parallel, int ranks, bool guided, std::int64_t rows,
                     std::int64_t unit) {
  return {ranks, parallel.guidance, guided ? 2 : 1, rows, unit, parallel.bands};
}

// Of a run that has guidance in other steps.
Topology unguided_topology(const ParallelConfig& parallel, int ranks, std::int64_t rows,
                           std::int64_t unit) {
  if (parallel.guidance == Guidance::batched)
    return topology_of(parallel, ranks, false, rows, unit);
  return {std::min(ranks, most_patches(rows, unit)), Guidance::batched, 1, rows, unit};
}

}  // namespace

std::vector<Phase> phases_of(const GenerationRequest& request, const RequestSizes& sizes, int steps,
                             const UNet& unet, const ParallelConfig& parallel, int ranks,
                             const PlanShape& shape) {
  const std::int64_t unit = unet.row_unit();
  std::vector<Phase> phases;
  const auto add = [&](StepRange range, bool guided, const Topology& topology) {
    if (range.empty()) return;
    phases.push_back(
        {range, guided, ExchangePlan(unet.sites().sites(), topology, parallel, shape)});
  };
  const Topology topology = topology_of(parallel, ranks, sizes.guided, sizes.rows, unit);
  if (!sizes.guided) {
    add({0, steps}, false, topology);
    return phases;
  }
  const StepRange guided = steps_within(request.guidance_start, request.guidance_end, steps);
  if (guided.empty()) {
    log().warn(
        "guidance from {} to {} guides none of the {} steps: begin it earlier, end it later or ask "
        "for more steps",
        request.guidance_start, request.guidance_end, steps);
  }
  const Topology unguided = unguided_topology(parallel, ranks, sizes.rows, unit);
  add({0, guided.first}, false, unguided);
  add(guided, true, topology);
  add({guided.end, steps}, false, unguided);
  return phases;
}

const Phase& main_phase(const std::vector<Phase>& phases) {
  const auto guided = std::ranges::find(phases, true, &Phase::guided);
  return guided == phases.end() ? phases.front() : *guided;
}

std::vector<RankReport> reports(const std::vector<Phase>& phases) {
  std::vector<RankReport> reports;
  const Topology& topology = main_phase(phases).plan.topology();
  for (int rank = 0; rank < topology.world_size(); ++rank) {
    const RowRange band = topology.band_of(rank);
    RankReport& report = reports.emplace_back();
    report.rows = {band.begin, band.end};
    report.branch = topology.first_branch(rank);
    for (const Phase& phase : phases) {
      if (rank >= phase.plan.topology().world_size()) continue;
      report.stale_bytes = std::max(report.stale_bytes, phase.plan.stale_bytes(rank));
    }
  }
  return reports;
}

void warn_of_stale_noise(const Scheduler& scheduler, const std::vector<Phase>& phases,
                         const ParallelConfig& parallel) {
  const bool has_bands = std::ranges::any_of(
      phases, [](const Phase& phase) { return phase.plan.topology().patches() > 1; });
  const bool reads_stale_rows = has_bands && parallel.reach != Reach::none &&
                                parallel.sync_steps < std::ssize(scheduler.timesteps());
  if (!reads_stale_rows || scheduler.kind() != SchedulerKind::lcm) return;
  log().warn(
      "steady steps of several bands spoil pictures of the lcm scheduler: make all steps "
      "synchronous (sync_steps {})",
      scheduler.timesteps().size());
}

}  // namespace pcpp
