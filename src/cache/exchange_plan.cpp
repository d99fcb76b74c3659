#include "cache/exchange_plan.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "kernels/encode_rows.h"

namespace pcpp {

namespace {

// So that a bundle starts early in the step and its transfer is still large enough to be efficient.
constexpr std::size_t kBundleSites = 16;

// The rows of each patch's data at the site, none of them pooled.
std::vector<RowRange> rows_of(const Site& site, const Topology& topology, std::int64_t columns) {
  std::vector<RowRange> rows;
  for (std::int64_t patch = 0; patch < topology.patches(); ++patch) {
    const RowRange band =
        band_at_level(topology.bands()[static_cast<std::size_t>(patch)], site.level);
    switch (site.kind) {
      case SiteKind::attention:
      case SiteKind::pooled:
        rows.push_back({band.begin * columns, band.end * columns});
        break;
      case SiteKind::halo:
        rows.push_back(band);
        break;
      case SiteKind::group_norm:
        rows.push_back({patch, patch + 1});
        break;
    }
  }
  return rows;
}

std::int64_t row_bytes_of(const Site& site, std::int64_t columns, std::int64_t element_bytes) {
  switch (site.kind) {
    case SiteKind::attention:
    case SiteKind::pooled:
      return site.width * element_bytes;
    case SiteKind::halo:
      return columns * site.width * element_bytes;
    case SiteKind::group_norm:
      break;
  }
  return site.width * 2 * static_cast<std::int64_t>(sizeof(double));
}

// As many rows as `pool` at a time become one, each patch's by themselves; 0: none do.
std::vector<RowRange> pooled(std::vector<RowRange> patches, std::int64_t pool) {
  std::int64_t begin = 0;
  for (RowRange& rows : patches) {
    const std::int64_t count = pool == 0 ? 0 : (rows.size() + pool - 1) / pool;
    rows = {begin, begin + count};
    begin += count;
  }
  return patches;
}

std::vector<RowRange> everything(const std::vector<RowRange>& owned) {
  return std::vector<RowRange>(owned.size(), {owned.front().begin, owned.back().end});
}

std::vector<RowRange> widened(const std::vector<RowRange>& bands, std::int64_t above,
                              std::int64_t below) {
  const RowRange image{bands.front().begin, bands.back().end};
  std::vector<RowRange> result;
  for (const RowRange& band : bands) {
    result.push_back(intersect({band.begin - above, band.end + below}, image));
  }
  return result;
}

// PCPP, section 3: [floor(a - p L_above), floor(b + p L_below)), cut to the image.
std::vector<RowRange> adjacent_parts(const std::vector<RowRange>& bands, const Partial& partial) {
  std::vector<RowRange> result;
  for (std::size_t i = 0; i < bands.size(); ++i) {
    RowRange read = bands[i];
    if (i > 0) read.begin -= partial.ceil_of(bands[i - 1].size());
    if (i + 1 < bands.size()) read.end += partial.floor_of(bands[i + 1].size());
    result.push_back(read);
  }
  return result;
}

// Bytes of a row in a steady step.
std::int64_t travelling_bytes(const SitePlan& site, std::int64_t element_bytes) {
  if (site.format == RowFormat::exact) return site.row_bytes;
  if (site.kind == SiteKind::group_norm) {
    return site.row_bytes / static_cast<std::int64_t>(2 * sizeof(double)) * kEncodedMomentsBytes;
  }
  const std::int64_t values = site.row_bytes / element_bytes;
  return site.format == RowFormat::int4 ? residual_bytes(values) : encoded_bytes(values);
}

}  // namespace

std::int64_t& bytes_of(SiteBytes& bytes, SiteKind kind) {
  switch (kind) {
    case SiteKind::attention:
    case SiteKind::pooled:
      return bytes.attention;
    case SiteKind::halo:
      return bytes.halo;
    case SiteKind::group_norm:
      break;
  }
  return bytes.group_norm;
}

const std::vector<RowRange>& SitePlan::reads(StepKind kind_of_step) const {
  return kind_of_step == StepKind::synchronous ? synchronous_reads : steady_reads;
}

RowRange SitePlan::sent(int from, int to, StepKind kind_of_step) const {
  if (from == to) return {};
  return intersect(owned[static_cast<std::size_t>(from)],
                   reads(kind_of_step)[static_cast<std::size_t>(to)]);
}

void check_settings(const ParallelConfig& config, int patches) {
  check_enumerator("reach", config.reach, Reach::all);
  check_enumerator("guidance", config.guidance, Guidance::split);
  check_enumerator("group_norm", config.group_norm, GroupNormMode::synchronous);
  check_enumerator("row_format", config.row_format, RowFormat::int4);
  check<ConfigError>(config.sync_steps >= 0, "{} synchronous steps: at least 0 are possible",
                     config.sync_steps);
  check<ConfigError>(
      config.sync_steps > 0 || config.reach == Reach::none || patches == 1,
      "0 synchronous steps: the first step has no earlier one to read from; use at least 1");
  check<ConfigError>(config.pool >= 0,
                     "{} tokens to a pooled one: at least 1, or 0 for none, are possible",
                     config.pool);
  static_cast<void>(Partial(config.partial));
}

ExchangePlan::ExchangePlan(const Topology& topology, const PlanShape& shape)
    : topology_(topology), shape_(shape) {}

ExchangePlan::ExchangePlan(std::span<const Site> sites, const Topology& topology,
                           const ParallelConfig& config, const PlanShape& shape)
    : ExchangePlan(topology, shape) {
  check_settings(config, topology_.patches());
  if (config.reach == Reach::adjacent && topology_.patches() > 1) pool_ = config.pool;
  for (const Site& site : sites) {
    SitePlan& plan = sites_.emplace_back(fresh_site(site));
    plan_reads(plan, site, config);
    if (!plan.always_fresh) plan.format = config.row_format;
    plan.steady_row_bytes = travelling_bytes(plan, shape_.element_bytes());
  }
  make_bundles(sites);
}

ExchangePlan ExchangePlan::of_one_run(std::span<const Site> sites, const Topology& topology,
                                      const PlanShape& shape) {
  ExchangePlan plan(topology, shape);
  for (const Site& site : sites) plan.sites_.push_back(plan.fresh_site(site));
  return plan;
}

SitePlan ExchangePlan::fresh_site(const Site& site) const {
  const std::int64_t columns = rows_at_level(shape_.latent_columns, site.level);
  SitePlan plan;
  plan.kind = site.kind;
  plan.row_bytes = row_bytes_of(site, columns, shape_.element_bytes());
  plan.steady_row_bytes = plan.row_bytes;
  plan.owned = rows_of(site, topology_, columns);
  if (site.kind == SiteKind::pooled) plan.owned = pooled(std::move(plan.owned), pool_);
  plan.synchronous_reads = site.kind == SiteKind::halo
                               ? widened(plan.owned, site.rows_above, site.rows_below)
                               : everything(plan.owned);
  plan.steady_reads = plan.synchronous_reads;
  plan.always_fresh = true;
  return plan;
}

void ExchangePlan::plan_reads(SitePlan& plan, const Site& site,
                              const ParallelConfig& config) const {
  plan.always_fresh = false;
  if (config.reach == Reach::none) {
    plan.synchronous_reads = plan.owned;
    plan.steady_reads = plan.owned;
    return;
  }
  const Partial partial(config.partial);
  switch (site.kind) {
    case SiteKind::attention:
      if (config.reach == Reach::adjacent) plan.steady_reads = adjacent_parts(plan.owned, partial);
      break;
    case SiteKind::pooled:
      plan_pooled(plan, site, partial);
      break;
    case SiteKind::halo:
      break;
    case SiteKind::group_norm:
      if (config.group_norm == GroupNormMode::local) plan.steady_reads = plan.owned;
      plan.always_fresh = config.group_norm == GroupNormMode::synchronous;
      plan.keeps_own = config.group_norm == GroupNormMode::corrected && plan.owned.size() > 1;
      break;
  }
}

// Pooled rows are read by those who leave a token unread, in synchronous steps for the steady one
// that follows.
void ExchangePlan::plan_pooled(SitePlan& plan, const Site& site, const Partial& partial) const {
  const std::vector<RowRange> tokens =
      rows_of(site, topology_, rows_at_level(shape_.latent_columns, site.level));
  const std::vector<RowRange> near = adjacent_parts(tokens, partial);
  const std::vector<RowRange> all = everything(tokens);
  for (std::size_t patch = 0; patch < near.size(); ++patch) {
    if (near[patch] == all[patch]) plan.steady_reads[patch] = plan.owned[patch];
  }
  plan.synchronous_reads = plan.steady_reads;
}

void ExchangePlan::make_bundles(std::span<const Site> sites) {
  int part = 0;  // of the last bundle
  for (std::size_t id = 0; id < sites_.size(); ++id) {
    SitePlan& site = sites_[id];
    if (site.always_fresh || site.steady_reads == site.owned) continue;
    const bool begins =
        bundles_.empty() || bundles_.back().size() == kBundleSites || sites[id].part != part;
    if (begins) bundles_.emplace_back();
    part = sites[id].part;
    site.bundle = static_cast<int>(bundles_.size()) - 1;
    bundles_.back().push_back(static_cast<SiteId>(id));
  }
}

SiteBytes ExchangePlan::moved_bytes(int rank, StepKind kind, bool sent) const {
  SiteBytes bytes;
  const int own = topology_.patch_of(rank);
  for (const SitePlan& site : sites_) {
    for (int peer = 0; peer < topology_.patches(); ++peer) {
      const RowRange rows = sent ? site.sent(own, peer, kind) : site.sent(peer, own, kind);
      bytes_of(bytes, site.kind) += batch() * rows.size() * site.travelling_row_bytes(kind);
    }
  }
  for (int peer = 0; peer < topology_.world_size(); ++peer) {
    if (peer != rank) bytes.gather += noise_bytes(sent ? rank : peer);
  }
  return bytes;
}

SiteBytes ExchangePlan::sent_bytes(int rank, StepKind kind) const {
  return moved_bytes(rank, kind, true);
}

SiteBytes ExchangePlan::received_bytes(int rank, StepKind kind) const {
  return moved_bytes(rank, kind, false);
}

std::int64_t ExchangePlan::stale_bytes(int rank) const {
  std::int64_t bytes = 0;
  const int own = topology_.patch_of(rank);
  for (const SitePlan& site : sites_) {
    if (site.bundle < 0) continue;
    const std::int64_t kept = 2 * site.steady_row_bytes + (site.is_residual() ? site.row_bytes : 0);
    for (int peer = 0; peer < topology_.patches(); ++peer) {
      bytes += batch() * site.sent(peer, own, StepKind::steady).size() * kept;
    }
  }
  return bytes;
}

std::int64_t ExchangePlan::noise_branches() const {
  return shape_.gathers_branches ? topology_.branches_of_rank() : 1;
}

std::int64_t ExchangePlan::noise_bytes(int rank) const {
  return noise_branches() * shape_.images * shape_.latent_channels *
         topology_.band_of(rank).size() * shape_.latent_columns *
         static_cast<std::int64_t>(sizeof(float));
}

}  // namespace pcpp
