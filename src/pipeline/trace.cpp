#include "pipeline/trace.h"

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <iterator>

#include "cache/stale_cache.h"
#include "ops/conv2d.h"

namespace pcpp {

namespace {

// Of each kind that a rank keeps: as RankTrace says.
constexpr std::size_t kMostSpans = 131072;

double microseconds(Clock::duration duration) {
  return std::chrono::duration<double, std::micro>(duration).count();
}

const char* way_of(const Kernel3x3& kernel) {
  const std::optional<WinogradTile> tile = kernel.winograd_tile();
  if (!tile) return "direct";
  return *tile == WinogradTile::two ? "tiles of two" : "tiles of four";
}

template <typename Entry>
void sort_by_begin(std::vector<Entry>& entries) {
  std::stable_sort(entries.begin(), entries.end(),
                   [](const Entry& a, const Entry& b) { return a.begin_us < b.begin_us; });
}

TraceExchange described(std::int64_t tag, const ExchangePlan& plan,
                        const std::vector<Site>& sites) {
  if (tag < 0) return {tag, "noise", "noise"};
  const auto [first, last] = sites_of_exchange(plan, tag);
  return {tag, sites.at(static_cast<std::size_t>(first)).name,
          sites.at(static_cast<std::size_t>(last)).name};
}

}  // namespace

StepLog::StepLog(Timeline& timeline, std::optional<Clock::time_point> trace_zero, int first_step)
    : timeline_(timeline), zero_(trace_zero), first_step_(first_step) {
  if (!zero_) return;
  timeline_.keep_spans(kMostSpans);
  spans_.emplace(timeline_, kMostSpans);
}

void StepLog::begin_step() { begins_.push_back(timeline_.begin_interval()); }

void StepLog::time(StepRecord& record) const {
  const int interval = begins_.at(static_cast<std::size_t>(record.step - first_step_));
  record.wait_ms = timeline_.wait_ms(interval);
  record.compute_ms = std::max(0.0, timeline_.interval_ms(interval) - record.wait_ms);
}

int StepLog::step_of(int interval) const {
  const auto after = std::upper_bound(begins_.begin(), begins_.end(), interval);
  return first_step_ + static_cast<int>(after - begins_.begin()) - 1;
}

RankTrace StepLog::trace(const ExchangePlan& plan, const std::vector<Site>& sites) const {
  RankTrace trace;
  if (!spans_) return trace;
  const auto begin_us = [&](Mark mark) { return microseconds(timeline_.time_of(mark) - *zero_); };
  for (const SpanLog::Span& span : spans_->spans()) {
    const double begin = begin_us(span.begin);
    trace.spans.push_back({span.name, span.depth, step_of(span.interval), begin,
                           std::max(0.0, begin_us(span.end) - begin)});
  }
  for (const ExchangeSpan& wait : timeline_.waits()) {
    trace.waits.push_back({described(timeline_.sent(wait.exchange).tag, plan, sites),
                           step_of(wait.interval), begin_us(wait.begin), 1e3 * wait.milliseconds});
  }
  for (const ExchangeSpan& transfer : timeline_.transfers()) {
    const SentExchange& sent = timeline_.sent(transfer.exchange);
    trace.transfers.push_back({described(sent.tag, plan, sites), sent.peers,
                               static_cast<std::int64_t>(sent.bytes), step_of(transfer.interval),
                               begin_us(transfer.begin), 1e3 * transfer.milliseconds});
  }
  // They were recorded when they were over.
  sort_by_begin(trace.waits);
  sort_by_begin(trace.transfers);
  trace.left_out = spans_->left_out() + timeline_.left_out();
  return trace;
}

void append(RankTrace&& later, RankTrace& trace) {
  std::ranges::move(later.spans, std::back_inserter(trace.spans));
  std::ranges::move(later.waits, std::back_inserter(trace.waits));
  std::ranges::move(later.transfers, std::back_inserter(trace.transfers));
  trace.left_out += later.left_out;
}

Trace network_trace(const UNet& unet, int ranks) {
  Trace trace;
  trace.ranks.resize(static_cast<std::size_t>(ranks));
  trace.parameters = unet.parameters();
  for (const PlacedConvolution& placed : unet.sites().convolutions()) {
    const Kernel3x3& kernel = *placed.kernel;
    const char* way = way_of(kernel);
    const auto same = std::ranges::find_if(trace.convolutions, [&](const TraceConvolutions& other) {
      return other.in == kernel.in() && other.out == kernel.out() && other.level == placed.level &&
             other.way == way;
    });
    if (same != trace.convolutions.end()) {
      ++same->count;
    } else {
      trace.convolutions.push_back({kernel.in(), kernel.out(), placed.level, way, 1});
    }
  }
  return trace;
}

}  // namespace pcpp
