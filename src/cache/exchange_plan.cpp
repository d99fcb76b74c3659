#include "cache/exchange_plan.h"

#include <algorithm>

#include "base/check.h"
#include "kernels/encode_rows.h"

namespace pcpp {

namespace {

// So that a bundle starts early in the step and its transfer is still large enough to be efficient.
constexpr std::size_t kBundleSites = 16;

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
  const bool fresh = kind_of_step == StepKind::synchronous || always_fresh;
  return fresh ? synchronous_reads : steady_reads;
}

RowRange SitePlan::sent(int from, int to, StepKind kind_of_step) const {
  if (from == to) return {};
  return intersect(owned[static_cast<std::size_t>(from)],
                   reads(kind_of_step)[static_cast<std::size_t>(to)]);
}

void check_settings(const ParallelConfig& config, int patches) {
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

ExchangePlan::ExchangePlan(std::span<const Site> sites, const Topology& topology,
                           const ParallelConfig& config, const PlanShape& shape)
    : topology_(topology), shape_(shape) {
  check_settings(config, topology_.patches());
  if (config.reach == Reach::adjacent && topology_.patches() > 1) pool_ = config.pool;
  for (const Site& site : sites) sites_.push_back(plan_site(site, config));
  make_bundles();
}

ExchangePlan ExchangePlan::of_one_run(std::span<const Site> sites, const Topology& topology,
                                      const PlanShape& shape) {
  ExchangePlan plan(sites, topology, ParallelConfig::distrifusion(), shape);
  plan.bundles_.clear();
  for (SitePlan& site : plan.sites_) {
    site.always_fresh = true;
    site.keeps_own = false;
    site.bundle = -1;
  }
  return plan;
}

SitePlan ExchangePlan::plan_site(const Site& site, const ParallelConfig& config) const {
  SitePlan plan;
  plan.kind = site.kind;
  const std::int64_t columns = rows_at_level(shape_.latent_columns, site.level);
  for (std::size_t patch = 0; patch < topology_.bands().size(); ++patch) {
    const RowRange band = band_at_level(topology_.bands()[patch], site.level);
    const auto index = static_cast<std::int64_t>(patch);
    switch (site.kind) {
      case SiteKind::attention:
      case SiteKind::pooled:
        plan.owned.push_back({band.begin * columns, band.end * columns});
        break;
      case SiteKind::halo:
        plan.owned.push_back(band);
        break;
      case SiteKind::group_norm:
        plan.owned.push_back({index, index + 1});
        break;
    }
  }
  switch (site.kind) {
    case SiteKind::attention:
    case SiteKind::pooled:
      plan.row_bytes = site.width * shape_.element_bytes();
      break;
    case SiteKind::halo:
      plan.row_bytes = columns * site.width * shape_.element_bytes();
      break;
    case SiteKind::group_norm:
      plan.row_bytes = site.width * 2 * static_cast<std::int64_t>(sizeof(double));
      break;
  }
  plan_reads(plan, site, config);
  if (!plan.always_fresh) plan.format = config.row_format;
  plan.steady_row_bytes = travelling_bytes(plan, shape_.element_bytes());
  return plan;
}

void ExchangePlan::plan_reads(SitePlan& plan, const Site& site,
                              const ParallelConfig& config) const {
  const Partial partial(config.partial);
  const std::vector<RowRange> everything(plan.owned.size(),
                                         {plan.owned.front().begin, plan.owned.back().end});
  switch (site.kind) {
    case SiteKind::attention:
      plan.synchronous_reads = everything;
      plan.steady_reads =
          config.reach == Reach::all ? everything : adjacent_parts(plan.owned, partial);
      break;
    case SiteKind::pooled:
      plan_pooled(plan, partial);
      break;
    case SiteKind::halo:
      plan.synchronous_reads = widened(plan.owned, site.rows_above, site.rows_below);
      plan.steady_reads = plan.synchronous_reads;
      break;
    case SiteKind::group_norm:
      plan.synchronous_reads = everything;
      plan.steady_reads = config.group_norm == GroupNormMode::local ? plan.owned : everything;
      plan.always_fresh = config.group_norm == GroupNormMode::synchronous;
      plan.keeps_own = config.group_norm == GroupNormMode::corrected && plan.owned.size() > 1;
      break;
  }
  if (config.reach == Reach::none) {
    plan.synchronous_reads = plan.owned;
    plan.steady_reads = plan.owned;
    plan.always_fresh = false;
    plan.keeps_own = false;
  }
}

// From the patches' tokens in plan.owned to their pooled rows. Those are read by all who leave a
// token unread, in synchronous steps for the steady one that follows.
void ExchangePlan::plan_pooled(SitePlan& plan, const Partial& partial) const {
  const RowRange image{plan.owned.front().begin, plan.owned.back().end};
  const std::vector<RowRange> near = adjacent_parts(plan.owned, partial);
  std::int64_t begin = 0;
  for (RowRange& rows : plan.owned) {
    const std::int64_t count = pool_ == 0 ? 0 : (rows.size() + pool_ - 1) / pool_;
    rows = {begin, begin + count};
    begin += count;
  }
  plan.steady_reads = plan.owned;
  for (std::size_t patch = 0; patch < near.size(); ++patch) {
    if (near[patch] != image) plan.steady_reads[patch] = {0, begin};
  }
  plan.synchronous_reads = plan.steady_reads;
}

void ExchangePlan::make_bundles() {
  for (std::size_t id = 0; id < sites_.size(); ++id) {
    SitePlan& site = sites_[id];
    if (site.always_fresh || site.steady_reads == site.owned) continue;
    if (bundles_.empty() || bundles_.back().size() == kBundleSites) bundles_.emplace_back();
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

std::int64_t ExchangePlan::noise_bytes(int rank) const {
  return shape_.images * shape_.latent_channels * topology_.band_of(rank).size() *
         shape_.latent_columns * static_cast<std::int64_t>(sizeof(float));
}

}  // namespace pcpp
