// One batch of pictures drawn in a process of its own, and what it cost.
#ifndef PCPP_BENCHMARKS_DRAWING_H_
#define PCPP_BENCHMARKS_DRAWING_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "combination.h"
#include "other_programs.h"
#include "pcpp/pcpp.h"

namespace pcpp::benchmarks {

// One step over all ranks.
struct StepCost {
  double step_ms = 0;  // of the slowest rank; where ranks compute in turn without its waits
  double wait_ms = 0;  // the mean over ranks
  SiteBytes sent;      // by all ranks together
};

struct Drawing {
  double seconds = 0;  // of all steps; without text encoders and VAE
  std::vector<StepCost> steps;
  std::vector<int> borders;      // first pixel rows of the bands but the first
  std::int64_t peak_bytes = 0;   // resident memory of the process, so far
  std::int64_t stale_bytes = 0;  // of the rank with the most
  std::vector<float> latents;
  std::vector<Image> images;  // none where the request did not decode
  std::string scheduler;
  std::optional<CoreShares> cores;  // meanwhile
};

// Loads the model in a child process and draws the requests there one after another, so that
// memory and caches of one combination do not touch another. Writes the traces of those that ask
// for one. The caller must have no threads. Throws ConfigError with the child's own text where it
// fails.
std::vector<Drawing> draw_in_child(const BenchOptions& options, const Combination& combination,
                                   const std::vector<GenerationRequest>& requests);

}  // namespace pcpp::benchmarks

#endif  // PCPP_BENCHMARKS_DRAWING_H_
