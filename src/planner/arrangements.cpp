#include "planner/arrangements.h"

#include <algorithm>
#include <array>
#include <map>
#include <optional>

#include "base/check.h"
#include "cache/stale_cache.h"
#include "planner/costs.h"

namespace pcpp {

namespace {

// What a rank does in a steady step.
struct RankCost {
  double macs = 0;
  double seconds = 0;  // of computation, packing included
};

// Bytes of a steady step.
struct Traffic {
  double most = 0;  // of what one rank sends or receives
  double all = 0;   // of what all send
};

// All that a plan tells of a rank.
struct RankFacts {
  RankCost cost;
  SiteBytes sent;
  SiteBytes received;
  std::int64_t stale_bytes = 0;
  std::int64_t buffer_bytes = 0;
};

// The rows of a band, in the middle, and of its neighbours; 0 where there is none. No band further
// away reads or is read but as one of so many, so that bands with the same cost the same.
using Surroundings = std::array<int, 5>;

Surroundings surroundings_of(const std::vector<int>& bands, std::size_t band) {
  Surroundings rows{};
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const std::size_t neighbour = band + i;  // counted from two before the first
    if (neighbour >= 2 && neighbour - 2 < bands.size()) rows[i] = bands[neighbour - 2];
  }
  return rows;
}

class Planner {
 public:
  Planner(const NetworkConfig& network, const WorkShape& shape, const DeviceProfile& profile,
          const std::stop_token& stop)
      : shape_(shape),
        profile_(profile),
        stop_(stop),
        network_(network, profile.dtype, shape.columns) {}

  PlannedRun planned(int ranks, const ParallelConfig& parallel);
  // The bands whose slowest is fastest, found by moving one unit at a time away from the slowest.
  // Throws Cancelled.
  std::vector<int> balanced(int ranks, const ParallelConfig& parallel);
  int most_patches() const { return pcpp::most_patches(shape_.rows, unit()); }

 private:
  std::int64_t unit() const { return network_.unet().row_unit(); }
  ExchangePlan exchange_plan(int ranks, const ParallelConfig& parallel) const {
    const Topology topology(ranks, parallel.guidance, shape_.branches, shape_.rows, unit(),
                            parallel.bands);
    return {network_.unet().sites().sites(),
            topology,
            parallel,
            {shape_.rows, shape_.columns, network_.unet().config().out_channels, shape_.images,
             network_.dtype()}};
  }
  RankCost rank_cost(const ExchangePlan& plan, int rank, const Costs& costs);
  // Of each of parallel.bands. `known` are those of other bands of the same ranks and settings.
  std::vector<double> band_seconds(int ranks, const ParallelConfig& parallel, const Costs& costs,
                                   std::map<Surroundings, double>& known);
  std::vector<RankFacts> facts_of_ranks(const ExchangePlan& plan, const Costs& costs);
  // Of so many exchanges, one after the other.
  double link_seconds(const Traffic& traffic, std::int64_t exchanges) const;
  // The time in which the links carry what the next step reads.
  double stale_seconds(const ExchangePlan& plan, const std::vector<RankFacts>& ranks) const;
  // The time in which all wait for the link to carry what is read in the same step, site by site.
  double fresh_seconds(const ExchangePlan& plan, const std::vector<RankFacts>& ranks) const;
  double gather_seconds(const std::vector<RankFacts>& ranks, const Costs& costs) const;

  WorkShape shape_;
  const DeviceProfile& profile_;
  const std::stop_token& stop_;
  NetworkWork network_;
};

// The sites that wait for this step's rows: GroupNorms, if any.
std::int64_t fresh_sites(const ExchangePlan& plan) {
  return std::ranges::count_if(plan.sites(), &SitePlan::always_fresh);
}

// The bytes that wait for the next step to read them.
std::int64_t stale(const ExchangePlan& plan, const SiteBytes& bytes) {
  return bytes.total() - bytes.gather - (fresh_sites(plan) > 0 ? bytes.group_norm : 0);
}

// What a self-attention reads in a steady step: tokens and, at the site before its own, the other
// bands' pooled ones, all of them where it may leave out those that it reads one by one.
std::int64_t keys_read(const ExchangePlan& plan, SiteId id, std::size_t patch) {
  const SitePlan& pooled = plan.site(id - 1);
  const std::int64_t means =
      pooled.kind == SiteKind::pooled
          ? pooled.reads(StepKind::steady)[patch].size() - pooled.owned[patch].size()
          : 0;
  return plan.site(id).reads(StepKind::steady)[patch].size() + means;
}

RankCost Planner::rank_cost(const ExchangePlan& plan, int rank, const Costs& costs) {
  const auto patch = static_cast<std::size_t>(plan.topology().patch_of(rank));
  const BandWork& band = network_.of(plan.topology().band_of(rank).size(), plan.batch());
  RankCost cost;
  for (const WorkItem& item : band.items) {
    double amount = item.work.amount;
    if (item.work.site) {
      amount *= static_cast<double>(keys_read(plan, *item.work.site, patch)) /
                static_cast<double>(item.work.keys);
    }
    if (item.work.kind != WorkKind::normalisation) cost.macs += item.count * amount;
    cost.seconds += item.count * costs.seconds(item.work.kind, item.work.shape, amount);
  }
  const std::string any = shape_in_batch("", plan.batch());
  cost.seconds += costs.seconds(WorkKind::elementwise, any, band.elementwise_bytes);
  const std::int64_t packed = stale(plan, plan.sent_bytes(rank, StepKind::steady));
  if (packed > 0) {
    cost.seconds += costs.seconds(WorkKind::exchange, any, static_cast<double>(packed));
  }
  return cost;
}

std::vector<int> heights_of(const Topology& topology) {
  std::vector<int> heights;
  for (const RowRange& band : topology.bands()) heights.push_back(static_cast<int>(band.size()));
  return heights;
}

std::vector<RankFacts> Planner::facts_of_ranks(const ExchangePlan& plan, const Costs& costs) {
  const std::vector<int> bands = heights_of(plan.topology());
  std::map<Surroundings, RankFacts> known;
  std::vector<RankFacts> ranks;
  for (int rank = 0; rank < plan.topology().world_size(); ++rank) {
    const auto band = static_cast<std::size_t>(plan.topology().patch_of(rank));
    const auto [entry, is_new] = known.try_emplace(surroundings_of(bands, band));
    if (is_new) {
      entry->second = {rank_cost(plan, rank, costs), plan.sent_bytes(rank, StepKind::steady),
                       plan.received_bytes(rank, StepKind::steady), plan.stale_bytes(rank),
                       buffer_bytes(plan, rank)};
    }
    ranks.push_back(entry->second);
  }
  return ranks;
}

// Of the bytes that `part` takes out of a rank's.
template <typename Part>
Traffic traffic(const std::vector<RankFacts>& ranks, Part part) {
  Traffic bytes;
  for (const RankFacts& rank : ranks) {
    const auto sent = static_cast<double>(part(rank.sent));
    const auto received = static_cast<double>(part(rank.received));
    bytes.most = std::max({bytes.most, sent, received});
    bytes.all += sent;
  }
  return bytes;
}

// Whether the band is among the fastest, which alone are given rows: else the time to plan would
// grow with the third power of the bands.
bool is_fast(const std::vector<double>& seconds, std::size_t band) {
  constexpr std::int64_t kFast = 8;
  return std::ranges::count_if(seconds, [&](double other) { return other < seconds[band]; }) <
         kFast;
}

double Planner::link_seconds(const Traffic& traffic, std::int64_t exchanges) const {
  if (!profile_.link || exchanges == 0 || traffic.all == 0) return 0;
  const double bytes = profile_.link->shared ? traffic.all : traffic.most;
  return static_cast<double>(exchanges) * profile_.link->latency_seconds +
         bytes / profile_.link->bytes_per_second;
}

double Planner::stale_seconds(const ExchangePlan& plan, const std::vector<RankFacts>& ranks) const {
  return link_seconds(traffic(ranks, [&](const SiteBytes& bytes) { return stale(plan, bytes); }),
                      1);
}

double Planner::fresh_seconds(const ExchangePlan& plan, const std::vector<RankFacts>& ranks) const {
  return link_seconds(traffic(ranks, [](const SiteBytes& bytes) { return bytes.group_norm; }),
                      fresh_sites(plan));
}

double Planner::gather_seconds(const std::vector<RankFacts>& ranks, const Costs& costs) const {
  const Traffic gather = traffic(ranks, [](const SiteBytes& bytes) { return bytes.gather; });
  if (gather.all == 0) return 0;
  return costs.seconds(WorkKind::gather, "", gather.most) + link_seconds(gather, 1);
}

PlannedRun Planner::planned(int ranks, const ParallelConfig& parallel) {
  const ExchangePlan plan = exchange_plan(ranks, parallel);
  const Costs costs(profile_, ranks);
  PlannedRun run;
  run.ranks = ranks;
  run.parallel = parallel;
  RankCost slowest;
  double macs = 0;
  SiteBytes sent;
  const std::vector<RankFacts> facts = facts_of_ranks(plan, costs);
  for (const RankFacts& rank : facts) {
    macs += rank.cost.macs;
    if (rank.cost.seconds > slowest.seconds) slowest = rank.cost;
    sent += rank.sent;
    if (rank.stale_bytes + rank.buffer_bytes > run.stale_bytes + run.buffer_bytes) {
      run.stale_bytes = rank.stale_bytes;
      run.buffer_bytes = rank.buffer_bytes;
    }
  }
  for (const RowRange& band : plan.topology().bands()) {
    run.activation_bytes =
        std::max(run.activation_bytes, network_.of(band.size(), plan.batch()).activation_bytes);
  }
  run.parallel.bands = heights_of(plan.topology());
  run.mean_flops = 2 * macs / ranks;
  run.slowest_flops = 2 * slowest.macs;
  run.sent = {sent.attention / ranks, sent.halo / ranks, sent.group_norm / ranks,
              sent.gather / ranks};
  run.weight_bytes = network_.weight_bytes() + profile_.extra_weight_bytes;
  run.fits = profile_.memory_bytes == 0 || run.memory_bytes() <= profile_.memory_bytes;
  const double step = std::max(slowest.seconds, stale_seconds(plan, facts)) +
                      fresh_seconds(plan, facts) + gather_seconds(facts, costs);
  run.step_ms = 1e3 * step;
  run.exposed_ms = 1e3 * (step - slowest.seconds);
  return run;
}

std::vector<double> Planner::band_seconds(int ranks, const ParallelConfig& parallel,
                                          const Costs& costs,
                                          std::map<Surroundings, double>& known) {
  if (parallel.pool > 0) known.clear();  // the means of all bands are read
  std::optional<ExchangePlan> plan;
  std::vector<double> seconds;
  for (std::size_t band = 0; band < parallel.bands.size(); ++band) {
    const auto [entry, is_new] = known.emplace(surroundings_of(parallel.bands, band), 0);
    if (is_new) {
      if (!plan) plan.emplace(exchange_plan(ranks, parallel));
      entry->second = rank_cost(*plan, static_cast<int>(band), costs).seconds;
    }
    seconds.push_back(entry->second);
  }
  return seconds;
}

std::vector<int> Planner::balanced(int ranks, const ParallelConfig& parallel) {
  const Costs costs(profile_, ranks);
  std::map<Surroundings, double> known;
  const auto seconds_of_bands = [&](const std::vector<int>& bands) {
    ParallelConfig tried = parallel;
    tried.bands = bands;
    return band_seconds(ranks, tried, costs, known);
  };
  const int step = static_cast<int>(unit());
  std::vector<int> bands = heights_of(exchange_plan(ranks, parallel).topology());
  std::vector<double> seconds = seconds_of_bands(bands);
  for (;;) {
    const auto slowest = std::max_element(seconds.begin(), seconds.end());
    const auto from = static_cast<std::size_t>(slowest - seconds.begin());
    std::optional<std::vector<int>> better;
    std::vector<double> better_seconds = seconds;
    check_not_stopped(stop_);
    for (std::size_t to = 0; to < bands.size() && bands[from] > step; ++to) {
      if (to == from || !is_fast(seconds, to)) continue;
      std::vector<int> moved = bands;
      moved[from] -= step;
      moved[to] += step;
      std::vector<double> moved_seconds = seconds_of_bands(moved);
      // Sorted from the slowest, so that two that are equally slow are relieved one by one.
      const auto sorted = [](std::vector<double> values) {
        std::sort(values.rbegin(), values.rend());
        return values;
      };
      if (sorted(moved_seconds) < sorted(better_seconds)) {
        better = moved;
        better_seconds = moved_seconds;
      }
    }
    if (!better) return bands;
    bands = *better;
    seconds = better_seconds;
  }
}

}  // namespace

void check_arrangements(int devices, const std::vector<ParallelConfig>& methods) {
  check<ConfigError>(devices >= 1 && devices <= World::kMostRanks, "{} devices are outside [1, {}]",
                     devices, World::kMostRanks);
  for (const ParallelConfig& method : methods) check_settings(method, devices);
}

std::vector<PlannedRun> plan_arrangements(const NetworkConfig& network, const WorkShape& shape,
                                          int devices, const std::vector<ParallelConfig>& methods,
                                          const DeviceProfile& profile,
                                          const std::stop_token& stop) {
  check_arrangements(devices, methods);
  check_profile(profile);
  Planner planner(network, shape, profile, stop);
  std::vector<PlannedRun> runs = {planner.planned(1, ParallelConfig{})};
  for (ParallelConfig method : methods) {
    for (int ranks = 2; ranks <= devices; ++ranks) {
      for (const Guidance guidance : {Guidance::batched, Guidance::split}) {
        const bool split = guidance == Guidance::split;
        if (split && (shape.branches == 1 || ranks % 2 != 0)) continue;
        if ((split ? ranks / 2 : ranks) > planner.most_patches()) continue;
        check_not_stopped(stop);
        method.guidance = guidance;
        method.bands.clear();
        runs.push_back(planner.planned(ranks, method));
        method.bands = planner.balanced(ranks, method);
        if (method.bands == runs.back().parallel.bands) continue;
        runs.push_back(planner.planned(ranks, method));
        runs.back().balanced = true;
      }
    }
  }
  for (PlannedRun& run : runs) {
    run.speedup = run.step_ms > 0 ? runs.front().step_ms / run.step_ms : 1;
  }
  return runs;
}

const PlannedRun& Plan::fastest() const {
  check<ConfigError>(!runs.empty(), "the plan has no run: make one with make_plan");
  const PlannedRun* best = runs.data();
  for (const PlannedRun& run : runs) {
    if (run.fits && (!best->fits || run.step_ms < best->step_ms)) best = &run;
  }
  return *best;
}

}  // namespace pcpp
