#include "pcpp/config.h"

namespace pcpp {

ParallelConfig ParallelConfig::naive() {
  ParallelConfig config;
  config.reach = Reach::none;
  return config;
}

ParallelConfig ParallelConfig::distrifusion() {
  ParallelConfig config;
  config.reach = Reach::all;
  return config;
}

ParallelConfig ParallelConfig::pcpp(double partial) {
  ParallelConfig config;
  config.reach = Reach::adjacent;
  config.partial = partial;
  return config;
}

std::string_view name_of(StepKind kind) {
  return kind == StepKind::synchronous ? "synchronous" : "steady";
}

}  // namespace pcpp
