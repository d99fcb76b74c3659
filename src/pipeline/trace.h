// What a traced run recorded, as the public values.
#ifndef PCPP_PIPELINE_TRACE_H_
#define PCPP_PIPELINE_TRACE_H_

#include <optional>
#include <vector>

#include "base/deadline.h"
#include "cache/exchange_plan.h"
#include "models/unet.h"
#include "ops/span_log.h"
#include "parallel/timeline.h"
#include "pcpp/trace.h"

namespace pcpp {

// When a rank's steps were on its stream and, where it is traced, what was in them. The rank's
// thread makes it before its first exchange and ends it.
class StepLog {
 public:
  // `trace_zero`: from when a trace counts its times; absent: nothing is traced. `first_step`: what
  // the first begin_step() begins.
  StepLog(Timeline& timeline, std::optional<Clock::time_point> trace_zero, int first_step);

  void begin_step();
  // What follows, up to the next begin_step(), is no step's.
  void end_step() { timeline_.begin_interval(); }

  // After the transport's drain(): sets the times of the record's step.
  void time(StepRecord& record) const;
  // Likewise: of `sites`, for which `plan` was made; empty where nothing is traced.
  RankTrace trace(const ExchangePlan& plan, const std::vector<Site>& sites) const;

 private:
  int step_of(int interval) const;

  Timeline& timeline_;
  std::optional<Clock::time_point> zero_;
  int first_step_;
  std::optional<SpanLog> spans_;
  std::vector<int> begins_;  // the timeline's interval, by step from the first
};

// Appends to `trace` what the rank did later.
void append(RankTrace&& later, RankTrace& trace);

// Of so many ranks, of which nothing is known yet.
Trace network_trace(const UNet& unet, int ranks);

}  // namespace pcpp

#endif  // PCPP_PIPELINE_TRACE_H_
