// The phases of a run: its steps with guidance, and those ahead of them and after them, in which
// the conditional branch alone is computed.
#ifndef PCPP_PIPELINE_PHASES_H_
#define PCPP_PIPELINE_PHASES_H_

#include <cstdint>
#include <vector>

#include "cache/exchange_plan.h"
#include "models/unet.h"
#include "pcpp/config.h"
#include "pcpp/pipeline.h"
#include "pipeline/request.h"
#include "schedulers/scheduler.h"

namespace pcpp {

struct Phase {
  StepRange steps;
  bool guided = false;
  ExchangePlan plan;  // of its ranks, of which there may be fewer than in others
};

// In their order, the steps of a checked request, of which `steps` are made by so many ranks; one
// at least. Throws ConfigError where `parallel` cannot share the work so.
std::vector<Phase> phases_of(const GenerationRequest& request, const RequestSizes& sizes, int steps,
                             const UNet& unet, const ParallelConfig& parallel, int ranks,
                             const PlanShape& shape);

// That which tells most of a run: the guided one, if there is one.
const Phase& main_phase(const std::vector<Phase>& phases);

// Of each of their ranks, what is known before it runs.
std::vector<RankReport> reports(const std::vector<Phase>& phases);

// Of a scheduler that replaces all noise of the latents in every step, where stale rows are of
// those before.
void warn_of_stale_noise(const Scheduler& scheduler, const std::vector<Phase>& phases,
                         const ParallelConfig& parallel);

}  // namespace pcpp

#endif  // PCPP_PIPELINE_PHASES_H_
