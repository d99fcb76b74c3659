// What a step cost, waited for and sent.
#ifndef PCPP_TRACE_H_
#define PCPP_TRACE_H_

#include <cstdint>
#include <string_view>

#include "pcpp/export.h"

namespace pcpp {

enum class StepKind {
  synchronous,  // waited for this step's data of the other bands
  steady,       // read their data of the step before
};

// Bytes by the kind of site that they belong to.
struct SiteBytes {
  std::int64_t attention = 0;
  std::int64_t halo = 0;
  std::int64_t group_norm = 0;
  std::int64_t gather = 0;

  std::int64_t total() const { return attention + halo + group_norm + gather; }
  friend bool operator==(const SiteBytes&, const SiteBytes&) = default;
};

// One rank's part of one step.
struct StepRecord {
  int step = 0;
  StepKind kind = StepKind::synchronous;
  double compute_ms = 0;  // the step without the waits
  double wait_ms = 0;     // time in which the rank had nothing to do but wait for others
  SiteBytes sent;
  int graphs = 0;  // CUDA graphs that made up the network's part of it; 0: it was launched singly
};

// What on_step is told: step `step` of `steps` is done (counted from 1).
struct StepProgress {
  int step = 0;
  int steps = 0;
  StepKind kind = StepKind::synchronous;
  double step_ms = 0;
};

PCPP_EXPORT std::string_view name_of(StepKind kind);

}  // namespace pcpp

#endif  // PCPP_TRACE_H_
