// Steps of a rank through the stale cache and the gather, each reading checked, over any transport.
#ifndef PCPP_TESTS_CACHE_CACHE_STEPS_H_
#define PCPP_TESTS_CACHE_CACHE_STEPS_H_

#include <cstdint>
#include <string>
#include <vector>

#include "cache/exchange_plan.h"
#include "support/transport_worlds.h"

namespace pcpp::testing {

inline constexpr std::int64_t kRows = 21;
inline constexpr std::int64_t kColumns = 6;
inline constexpr int kSteps = 7;

// The first two are synchronous.
StepKind kind_of(int step);

// Enough sites for several bundles, of every kind and of three levels.
std::vector<Site> sites();
ParallelConfig with_pool(int pool);

// Every method and mode that moves rows in a way of its own.
struct MethodCase {
  std::string name;
  ParallelConfig config;
  int ranks = 1;

  ExchangePlan plan() const;
  friend void PrintTo(const MethodCase& value, std::ostream* out) { *out << value.name; }
};
std::vector<MethodCase> method_cases();

// The rows of `site` that `patch` owns in `step`: another value in every row, branch, site and
// step.
std::vector<std::byte> own_rows(const ExchangePlan& plan, int patch, int step, SiteId site);

// Runs the case's ranks. What a rank may read in a step must be exactly what the plan says, of this
// step or of the step before; the bytes that it hands to the transport, those that were planned.
void run_steps(const MethodCase& method, TransportWorld& world);

}  // namespace pcpp::testing

#endif  // PCPP_TESTS_CACHE_CACHE_STEPS_H_
