#include "cache/stale_cache.h"

#include <algorithm>
#include <stdexcept>
#include <utility>

#include "base/check.h"

namespace pcpp {

namespace {

// Misuse by the library itself, not by its user.
void require(bool condition, const char* rule) {
  if (!condition) throw std::logic_error(rule);
}

constexpr int kBuffers = 2;  // of a bundle, each with an exchange of its own

}  // namespace

// Tags: of each site's fresh rows, then of each bundle's buffers.
std::pair<SiteId, SiteId> sites_of_exchange(const ExchangePlan& plan, std::int64_t tag) {
  const auto sites = static_cast<std::int64_t>(plan.sites().size());
  if (tag < sites) return {static_cast<SiteId>(tag), static_cast<SiteId>(tag)};
  const std::vector<SiteId>& bundle =
      plan.bundles().at(static_cast<std::size_t>((tag - sites) / kBuffers));
  return {bundle.front(), bundle.back()};
}

namespace {

// A rank's exchanges, and how much memory they share.
struct Layout {
  Layout(const ExchangePlan& plan, int rank);

  std::vector<ExchangeMemory> fresh;    // by site
  std::vector<ExchangeMemory> bundles;  // two buffers each
  std::vector<std::size_t> own;         // by site: of a step's own rows, 0 where they are not kept
  // The most that one site needs of them.
  std::size_t send = 0;
  std::size_t receive = 0;
  std::size_t decoded = 0;
};

Layout::Layout(const ExchangePlan& plan, int rank) {
  const auto sites = static_cast<SiteId>(plan.sites().size());
  const auto patch = static_cast<std::size_t>(plan.topology().patch_of(rank));
  for (SiteId id = 0; id < sites; ++id) {
    const SitePlan& site = plan.site(id);
    fresh.emplace_back(plan, rank, std::span(&id, 1), StepKind::synchronous, id, 1);
    send = std::max(send, fresh.back().send_bytes());
    receive = std::max(receive, fresh.back().receive_bytes());
    if (site.is_encoded() && !site.is_residual()) {
      decoded = std::max(decoded, fresh.back().receive_bytes());
    }
    own.push_back(site.keeps_own ? static_cast<std::size_t>(
                                       plan.batch() * site.owned[patch].size() * site.row_bytes)
                                 : 0);
  }
  std::int64_t tag = sites;
  for (const std::vector<SiteId>& bundle : plan.bundles()) {
    bundles.emplace_back(plan, rank, bundle, StepKind::steady, tag, kBuffers);
    tag += kBuffers;
  }
}

}  // namespace

std::int64_t buffer_bytes(const ExchangePlan& plan, int rank) {
  const Layout layout(plan, rank);
  std::size_t bytes = layout.send + layout.receive + layout.decoded;
  for (const std::size_t own : layout.own) bytes += kBuffers * own;
  for (const ExchangeMemory& bundle : layout.bundles) {
    bytes += bundle.send_bytes() + bundle.receive_bytes() + bundle.last_bytes();
  }
  return static_cast<std::int64_t>(bytes) - plan.stale_bytes(rank);
}

StaleCache::StaleCache(const ExchangePlan& plan, Transport& transport,
                       std::chrono::milliseconds timeout, std::stop_token stop)
    : plan_(plan),
      transport_(transport),
      timeout_(timeout),
      stop_(std::move(stop)),
      patch_(static_cast<std::size_t>(plan.topology().patch_of(transport.rank()))),
      own_(plan.sites().size()),
      writer_(plan, transport) {
  Layout layout(plan, transport.rank());
  for (std::size_t site = 0; site < own_.size(); ++site) {
    if (layout.own[site] == 0) continue;
    for (std::byte*& rows : own_[site].rows) rows = transport.allocate(layout.own[site]);
  }
  std::byte* send = transport.allocate(layout.send);
  std::byte* receive = transport.allocate(layout.receive);
  decoded_ = transport.allocate(layout.decoded);
  fresh_ = std::move(layout.fresh);
  for (ExchangeMemory& memory : fresh_) memory.prepare(transport, send, receive, nullptr);
  for (ExchangeMemory& memory : layout.bundles) {
    memory.prepare(transport, transport.allocate(memory.send_bytes()),
                   transport.allocate(memory.receive_bytes()),
                   transport.allocate(memory.last_bytes()));
    bundles_.push_back({std::move(memory)});
  }
}

void StaleCache::begin_step(StepKind kind, std::optional<StepKind> next) {
  require(!in_step_, "begin_step() within a step");
  require(kind == StepKind::synchronous || next_ == StepKind::steady || bundles_.empty(),
          "a steady step after one that sent nothing for it");
  previous_ = kind_;
  kind_ = kind;
  next_ = next;
  in_step_ = true;
  next_site_ = 0;
  unsent_end_ = 0;
  sent_ = {};
}

void StaleCache::end_step() {
  require(in_step_ && next_site_ == static_cast<SiteId>(plan_.sites().size()),
          "end_step() before every site was swapped");
  in_step_ = false;
  filled_ = 1 - filled_;
}

RowRange StaleCache::reads(SiteId site) const { return plan_.site(site).reads(kind_)[patch_]; }

void StaleCache::repeat_step() {
  require(!in_step_ && kind_ == StepKind::steady && next_ == StepKind::steady,
          "only a steady step between steady ones does what the step before last did");
  filled_ = 1 - filled_;
}

Reading StaleCache::swap(SiteId site, const std::byte* own, std::int64_t batch_stride) {
  const BatchRows<const std::byte> rows{own, batch_stride};
  require(in_step_ && site == next_site_, "sites are swapped in order, once a step");
  check_not_stopped(stop_);
  ++next_site_;
  const SitePlan& plan = plan_.site(site);
  const bool fresh = kind_ == StepKind::synchronous || plan.always_fresh;
  Reading reading = fresh ? read_fresh(site, rows) : read_stale(site);
  if (plan.keeps_own) {
    const OwnRows& kept = own_[static_cast<std::size_t>(site)];
    keep_own(site, rows);
    reading.own_previous = kept.rows[static_cast<std::size_t>(fresh ? filled_ : 1 - filled_)];
  }
  const bool is_sent = plan.bundle >= 0 && next_ == StepKind::steady && site >= unsent_end_;
  if (is_sent && fresh) retain(site, reading, rows);
  if (is_sent && !fresh) {
    const Bundle& bundle = bundles_[static_cast<std::size_t>(plan.bundle)];
    bytes_of(sent_, plan.kind) += bundle.memory.pack(site, rows, writer_);
  }
  writer_.flush();
  if (is_sent && !fresh) start_behind(site);
  return reading;
}

void StaleCache::leave_out(SiteId end) {
  require(in_step_ && next_site_ <= end && end <= static_cast<SiteId>(plan_.sites().size()),
          "what is left out lies between sites that are swapped in order");
  check_not_stopped(stop_);
  for (; next_site_ < end; ++next_site_) {
    const int number = plan_.site(next_site_).bundle;
    if (number < 0) continue;
    Bundle& bundle = bundles_[static_cast<std::size_t>(number)];
    require(!bundle.under_way, "what a step leaves out must have been sent nothing for it");
    bundle.is_left_out = true;
  }
}

void StaleCache::send_nothing(SiteId end) {
  require(in_step_ && next_site_ <= end && end <= static_cast<SiteId>(plan_.sites().size()),
          "what sends nothing lies between sites that are swapped in order");
  unsent_end_ = end;
}

Reading StaleCache::read_fresh(SiteId site, const BatchRows<const std::byte>& own) {
  const ExchangeMemory& memory = fresh_[static_cast<std::size_t>(site)];
  bytes_of(sent_, plan_.site(site).kind) += memory.pack(site, own, writer_);
  writer_.flush();
  transport_.start(memory.exchange(0));
  transport_.wait(memory.exchange(0), deadline_in(timeout_));
  return {memory.pieces(site, 0)};
}

Reading StaleCache::read_stale(SiteId site) {
  const SitePlan& plan = plan_.site(site);
  if (plan.bundle < 0) return {};
  Bundle& bundle = bundles_[static_cast<std::size_t>(plan.bundle)];
  require(!bundle.is_left_out, "a steady step of sites that the step before left out");
  if (bundle.under_way) {
    transport_.wait(bundle.memory.exchange(1 - filled_), deadline_in(timeout_));
    bundle.under_way = false;
  }
  return {decoded(site, bundle.memory.pieces(site, 1 - filled_))};
}

std::vector<Piece> StaleCache::decoded(SiteId site, std::vector<Piece> pieces) {
  const SitePlan& plan = plan_.site(site);
  if (!plan.is_encoded()) return pieces;
  std::byte* target = decoded_;
  for (Piece& piece : pieces) {
    // A synchronous step leaves no residual.
    const bool is_whole = plan.is_residual() && previous_ == StepKind::synchronous;
    if (!is_whole) writer_.decode(plan, target, piece);
    piece.data = plan.is_residual() ? piece.last : target;
    target += plan_.batch() * piece.rows.size() * plan.row_bytes;
  }
  return pieces;
}

void StaleCache::start_behind(SiteId site) {
  const auto number = static_cast<std::size_t>(plan_.site(site).bundle);
  if (plan_.bundles()[number].back() != site) return;
  Bundle& bundle = bundles_[number];
  transport_.start(bundle.memory.exchange(filled_));
  bundle.under_way = true;
}

void StaleCache::retain(SiteId site, const Reading& fresh, const BatchRows<const std::byte>& own) {
  const SitePlan& plan = plan_.site(site);
  Bundle& bundle = bundles_[static_cast<std::size_t>(plan.bundle)];
  bundle.is_left_out = false;
  const bool residual = plan.is_residual();
  if (residual) bundle.memory.keep_last(site, own, writer_);
  const StepKind as = residual ? StepKind::synchronous : StepKind::steady;
  const std::int64_t row_bytes = plan.travelling_row_bytes(as);
  for (const Piece& kept : bundle.memory.pieces(site, filled_)) {
    for (const Piece& whole : fresh.pieces) {
      const RowRange rows = intersect(kept.rows, whole.rows);
      if (rows.empty()) continue;
      std::byte* target = residual ? kept.last : kept.data;
      writer_.write(
          plan, as,
          {target + (rows.begin - kept.rows.begin) * row_bytes, kept.rows.size() * row_bytes},
          {whole.data + (rows.begin - whole.rows.begin) * plan.row_bytes,
           whole.rows.size() * plan.row_bytes},
          rows.size(), nullptr);
    }
  }
}

void StaleCache::keep_own(SiteId site, const BatchRows<const std::byte>& own) {
  const SitePlan& plan = plan_.site(site);
  const std::int64_t rows = plan.owned[patch_].size();
  std::byte* kept = own_[static_cast<std::size_t>(site)].rows[static_cast<std::size_t>(filled_)];
  writer_.write(plan, StepKind::synchronous, {kept, rows * plan.row_bytes}, own, rows, nullptr);
}

}  // namespace pcpp
