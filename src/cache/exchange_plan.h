// Which rows each rank reads of whom, and how many bytes that is: everything known before the
// first step.
#ifndef PCPP_CACHE_EXCHANGE_PLAN_H_
#define PCPP_CACHE_EXCHANGE_PLAN_H_

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "cache/partial.h"
#include "parallel/topology.h"
#include "pcpp/config.h"
#include "pcpp/trace.h"

namespace pcpp {

enum class SiteKind { attention, pooled, halo, group_norm };

// The entry of `bytes` for sites of this kind.
std::int64_t& bytes_of(SiteBytes& bytes, SiteKind kind);

// A place in the network that reads neighbours' data, as its operator registers it when it is
// built: independent of the image's size and of the ranks.
struct Site {
  std::string name;  // the operator's scope in the checkpoint
  SiteKind kind = SiteKind::halo;
  int level = 0;  // the rows' level: latent rows / 2^level, rounded up, as rows_at_level()
  // attention, pooled: elements of one token's row (keys and values); halo: channels of one pixel;
  // group_norm: groups.
  std::int64_t width = 0;
  int rows_above = 0;  // halo: rows of the neighbours that the convolution reads
  int rows_below = 0;
  // Of the network: what a step may leave out as a whole shares no bundle with others.
  int part = 0;
};
using SiteId = int;

// The sizes of a request.
struct PlanShape {
  std::int64_t latent_rows = 0;
  std::int64_t latent_columns = 0;
  std::int64_t latent_channels = 0;
  std::int64_t images = 1;
  DataType dtype = DataType::float32;  // of the network's activations
  // Both branches' noise is gathered from ranks that compute both, and guidance made of it then.
  bool gathers_branches = false;

  std::int64_t element_bytes() const { return dtype == DataType::float32 ? 4 : 2; }
};

// A site's rows at this size. A site's data is [batch, rows, row_bytes], cut between the patches
// along its rows: image rows for a convolution, tokens for attention, means of up to
// ParallelConfig::pool consecutive tokens of a patch for its far context, and one row of moments a
// patch for GroupNorm.
struct SitePlan {
  SiteKind kind = SiteKind::halo;
  std::int64_t row_bytes = 0;
  RowFormat format = RowFormat::exact;  // of its rows in steady steps
  std::int64_t steady_row_bytes = 0;    // as it travels in a steady step: fewer where it is encoded
  std::vector<RowRange> owned;          // by patch
  std::vector<RowRange> steady_reads;   // by patch, its own rows included
  std::vector<RowRange> synchronous_reads;  // likewise
  bool always_fresh = false;                // waits for this step's rows in steady steps too
  bool keeps_own = false;                   // its operator asks for its own rows of the step before
  int bundle = -1;  // the bundle that carries it in a steady step; -1: none does

  bool is_encoded() const { return format != RowFormat::exact; }
  // In steady steps its rows travel as what they differ by from the last ones sent.
  bool is_residual() const { return format == RowFormat::int4 && kind != SiteKind::group_norm; }
  std::int64_t travelling_row_bytes(StepKind kind_of_step) const {
    return kind_of_step == StepKind::steady ? steady_row_bytes : row_bytes;
  }
  const std::vector<RowRange>& reads(StepKind kind_of_step) const;
  // What patch `from` sends to patch `to`; empty where `to` reads nothing of it.
  RowRange sent(int from, int to, StepKind kind_of_step) const;
};

// Throws ConfigError for settings that are out of range for so many patches.
void check_settings(const ParallelConfig& config, int patches);

// Immutable; shared by all ranks of a request.
class ExchangePlan {
 public:
  // Throws as check_settings() does.
  ExchangePlan(std::span<const Site> sites, const Topology& topology, const ParallelConfig& config,
               const PlanShape& shape);

  // For a network that runs once for a picture, in synchronous steps alone: each site waits for the
  // rows of all bands, and nothing is kept for another step.
  static ExchangePlan of_one_run(std::span<const Site> sites, const Topology& topology,
                                 const PlanShape& shape);

  const Topology& topology() const { return topology_; }
  const PlanShape& shape() const { return shape_; }
  // Items of one rank's batch: its branches times the images.
  std::int64_t batch() const { return topology_.branches_of_rank() * shape_.images; }
  // The tokens of a patch that each of its pooled rows is the mean of, in order and the last row
  // perhaps of fewer; 0: no rows are pooled.
  std::int64_t pool() const { return pool_; }
  const std::vector<SitePlan>& sites() const { return sites_; }
  const SitePlan& site(SiteId id) const { return sites_.at(static_cast<std::size_t>(id)); }
  // The sites of each bundle, in order.
  const std::vector<std::vector<SiteId>>& bundles() const { return bundles_; }

  // Bytes that `rank` sends in a step of this kind (in a steady step, for the next one to read).
  SiteBytes sent_bytes(int rank, StepKind kind) const;
  SiteBytes received_bytes(int rank, StepKind kind) const;
  // Bytes of the double buffer that `rank` receives stale rows into, and of the rows that it adds
  // residuals to.
  std::int64_t stale_bytes(int rank) const;
  // Branches in a rank's noise band: where it computes both these, or what guidance made of them.
  std::int64_t noise_branches() const;
  // Bytes of one rank's noise band, which it sends to every other rank in every step.
  std::int64_t noise_bytes(int rank) const;

 private:
  ExchangePlan(const Topology& topology, const PlanShape& shape);  // of no sites
  // One that waits for all that it can read in every step.
  SitePlan fresh_site(const Site& site) const;
  void plan_reads(SitePlan& plan, const Site& site, const ParallelConfig& config) const;
  void plan_pooled(SitePlan& plan, const Site& site, const Partial& partial) const;
  SiteBytes moved_bytes(int rank, StepKind kind, bool sent) const;
  void make_bundles(std::span<const Site> sites);

  Topology topology_;
  PlanShape shape_;
  std::int64_t pool_ = 0;
  std::vector<SitePlan> sites_;
  std::vector<std::vector<SiteId>> bundles_;
};

}  // namespace pcpp

#endif  // PCPP_CACHE_EXCHANGE_PLAN_H_
