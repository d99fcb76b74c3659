#include "pcpp/world.h"

#include <sched.h>

#include <algorithm>
#include <thread>
#include <utility>

#include "base/check.h"
#include "parallel/link_courier.h"

namespace pcpp {

namespace {
constexpr int kMaximum = 1024;
}  // namespace

int World::cores() {
  cpu_set_t allowed;
  if (sched_getaffinity(0, sizeof allowed, &allowed) == 0) return std::max(1, CPU_COUNT(&allowed));
  return std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
}

World::World(int ranks, int threads_per_rank, std::optional<Link> link)
    : ranks_(ranks), threads_per_rank_(threads_per_rank), link_(std::move(link)) {
  check<ConfigError>(ranks >= 0 && ranks <= kMaximum,
                     "{} ranks are outside [1, {}]; 0 means one for each core", ranks, kMaximum);
  check<ConfigError>(threads_per_rank >= 0 && threads_per_rank <= kMaximum,
                     "{} threads a rank are outside [1, {}]; 0 shares the cores evenly",
                     threads_per_rank, kMaximum);
  if (link_) check_link(*link_);
  if (ranks_ == 0) ranks_ = cores();
  if (threads_per_rank_ == 0) threads_per_rank_ = std::max(1, cores() / ranks_);
}

}  // namespace pcpp
