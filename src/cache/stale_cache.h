// The stale-activation cache of one rank: the one place that knows how fresh a row is.
#ifndef PCPP_CACHE_STALE_CACHE_H_
#define PCPP_CACHE_STALE_CACHE_H_

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <stop_token>
#include <utility>
#include <vector>

#include "cache/exchange_memory.h"
#include "cache/exchange_plan.h"
#include "cache/row_writer.h"
#include "parallel/transport.h"

namespace pcpp {

// What a site may read besides its own fresh rows.
struct Reading {
  std::vector<Piece> pieces;  // in the image's order, own rows left out
  // The rank's own rows of the step that `pieces` are from, [batch, rows, row_bytes]; only for
  // sites that keep them, else null.
  const std::byte* own_previous = nullptr;
};

// The first and the last of the sites whose rows a stale cache's exchange of this tag carries.
std::pair<SiteId, SiteId> sites_of_exchange(const ExchangePlan& plan, std::int64_t tag);

// What a stale cache allocates for `rank` beyond ExchangePlan::stale_bytes(): where it packs rows
// to send, receives fresh ones, decodes what is encoded and keeps its own.
std::int64_t buffer_bytes(const ExchangePlan& plan, int rank);

// Operators hand their rows in and get back what they may read: this step's rows in a synchronous
// step, exactly the step before's in a steady one. One object for each rank in a run of them, used
// by that rank's thread alone. Its memory is allocated once, by the transport.
class StaleCache {
 public:
  // `plan` and `transport` must outlive the cache. A wait longer than `timeout` throws
  // TransportError; once `stop` is requested, the next swap() throws Cancelled.
  StaleCache(const ExchangePlan& plan, Transport& transport, std::chrono::milliseconds timeout,
             std::stop_token stop = {});

  // `next` is the kind of the step that follows; with none, or before a synchronous one, nothing
  // is sent for it. A steady step must follow one whose `next` was steady, unless nothing travels.
  void begin_step(StepKind kind, std::optional<StepKind> next);

  // The rows that the site may read in the present step, its own included.
  RowRange reads(SiteId site) const;

  // Every site, in order, once a step. `own` holds the site's owned rows, item i of the batch at
  // own + i * batch_stride bytes, each item's rows contiguous. It is read, and what is returned may
  // be read, on the rank's stream (see Transport) between this call and the next.
  Reading swap(SiteId site, const std::byte* own, std::int64_t batch_stride);

  // In place of swap() for the sites from the next one up to `end`: a whole part of the network,
  // which no rank runs in this step, and of which nothing was sent for it. Where they read others'
  // rows their next step, if any, must be a synchronous one.
  void leave_out(SiteId end);
  // Ahead of swap() for these sites, where no rank runs them in the next step: of what this one
  // makes nothing is sent for it.
  void send_nothing(SiteId end);

  void end_step();

  // In place of a steady step, after such a one and before another: its work was done again from a
  // recording of the step before last, exchanges included.
  void repeat_step();

  // Bytes handed to the transport in the present or last step.
  const SiteBytes& sent() const { return sent_; }

 private:
  struct Bundle {
    ExchangeMemory memory;
    bool under_way = false;
    bool is_left_out = false;  // since its last step
  };
  struct OwnRows {  // of the last two steps, for sites that keep them
    std::array<std::byte*, 2> rows{};
  };

  Reading read_fresh(SiteId site, const BatchRows<const std::byte>& own);
  Reading read_stale(SiteId site);
  std::vector<Piece> decoded(SiteId site, std::vector<Piece> pieces);
  void retain(SiteId site, const Reading& fresh, const BatchRows<const std::byte>& own);
  void start_behind(SiteId site);
  void keep_own(SiteId site, const BatchRows<const std::byte>& own);

  const ExchangePlan& plan_;
  Transport& transport_;
  const std::chrono::milliseconds timeout_;
  const std::stop_token stop_;
  const std::size_t patch_;
  std::vector<Bundle> bundles_;
  std::vector<ExchangeMemory> fresh_;  // by site; all share one memory
  std::vector<OwnRows> own_;           // by site
  std::byte* decoded_ = nullptr;       // of the site that was read last
  RowWriter writer_;                   // flushed at the end of a swap

  StepKind kind_ = StepKind::synchronous;
  StepKind previous_ = StepKind::synchronous;
  std::optional<StepKind> next_;
  bool in_step_ = false;
  int filled_ = 0;  // the buffer that this step fills; a steady step reads the other one
  SiteId next_site_ = 0;
  SiteId unsent_end_ = 0;  // after the sites of which the present step sends nothing
  SiteBytes sent_;
};

}  // namespace pcpp

#endif  // PCPP_CACHE_STALE_CACHE_H_
