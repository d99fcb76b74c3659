// What a traced run recorded, as the public values.
#ifndef PCPP_PIPELINE_TRACE_H_
#define PCPP_PIPELINE_TRACE_H_

#include <cstddef>
#include <vector>

#include "base/deadline.h"
#include "cache/exchange_plan.h"
#include "models/unet.h"
#include "ops/span_log.h"
#include "parallel/timeline.h"
#include "pcpp/trace.h"

namespace pcpp {

// Of each kind that a rank keeps: as RankTrace says.
constexpr std::size_t kMostSpans = 131072;

// Step s began with the timeline's interval `intervals[s]`; `plan` is of the sites `sites`, and
// times count from `zero`. After the transport's drain().
RankTrace rank_trace(const SpanLog& log, const Timeline& timeline,
                     const std::vector<int>& intervals, const ExchangePlan& plan,
                     const std::vector<Site>& sites, Clock::time_point zero);

// All but the ranks.
Trace network_trace(const UNet& unet);

}  // namespace pcpp

#endif  // PCPP_PIPELINE_TRACE_H_
