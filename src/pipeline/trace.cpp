#include "pipeline/trace.h"

#include <algorithm>
#include <chrono>
#include <optional>
#include <utility>

#include "cache/stale_cache.h"
#include "ops/conv2d.h"

namespace pcpp {

namespace {

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

}  // namespace

RankTrace rank_trace(const SpanLog& log, const Timeline& timeline,
                     const std::vector<int>& intervals, const ExchangePlan& plan,
                     const std::vector<Site>& sites, Clock::time_point zero) {
  const auto begin_us = [&](Mark mark) { return microseconds(timeline.time_of(mark) - zero); };
  const auto step_of = [&](int interval) {
    const auto after = std::upper_bound(intervals.begin(), intervals.end(), interval);
    return static_cast<int>(after - intervals.begin()) - 1;
  };
  const auto described = [&](std::int64_t tag) -> TraceExchange {
    if (tag < 0) return {tag, "noise", "noise"};
    const auto [first, last] = sites_of_exchange(plan, tag);
    return {tag, sites.at(static_cast<std::size_t>(first)).name,
            sites.at(static_cast<std::size_t>(last)).name};
  };
  RankTrace trace;
  for (const SpanLog::Span& span : log.spans()) {
    const double begin = begin_us(span.begin);
    trace.spans.push_back({span.name, span.depth, step_of(span.interval), begin,
                           std::max(0.0, begin_us(span.end) - begin)});
  }
  for (const ExchangeSpan& wait : timeline.waits()) {
    trace.waits.push_back({described(timeline.sent(wait.exchange).tag), step_of(wait.interval),
                           begin_us(wait.begin), 1e3 * wait.milliseconds});
  }
  for (const ExchangeSpan& transfer : timeline.transfers()) {
    const SentExchange& sent = timeline.sent(transfer.exchange);
    trace.transfers.push_back({described(sent.tag), sent.peers,
                               static_cast<std::int64_t>(sent.bytes), step_of(transfer.interval),
                               begin_us(transfer.begin), 1e3 * transfer.milliseconds});
  }
  // They were recorded when they were over.
  sort_by_begin(trace.waits);
  sort_by_begin(trace.transfers);
  trace.left_out = log.left_out() + timeline.left_out();
  return trace;
}

Trace network_trace(const UNet& unet) {
  Trace trace;
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
