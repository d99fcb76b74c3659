#include "pipeline/threads.h"

#include <ATen/Parallel.h>
#include <omp.h>

#include <algorithm>
#include <cstdint>
#include <mutex>

#include "base/check.h"
#include "base/threads.h"

namespace pcpp {

namespace {

// The calling thread's number: the process's, unless it took or was given one before.
int taken_threads() {
  at::internal::lazy_init_num_threads();
  return at::get_num_threads();
}

}  // namespace

int most_threads() { return omp_get_max_active_levels() == 0 ? 1 : omp_get_thread_limit(); }

void set_threads(int count) {
  check<ConfigError>(count <= most_threads(),
                     "{} threads a rank, and OpenMP allows {}: take fewer, or raise or unset "
                     "OMP_THREAD_LIMIT and OMP_MAX_ACTIVE_LEVELS",
                     count, most_threads());
  omp_set_dynamic(0);
  static std::mutex setting;
  const std::lock_guard lock(setting);
  if (taken_threads() == count) return;
  int of_process = 0;
  make_thread([&] { of_process = taken_threads(); }).join();
  at::set_num_threads(count);
  make_thread([&] { at::set_num_threads(of_process); }).join();
}

void use_all_threads(const World& world) {
  const int most = std::min(World::cores(), most_threads());
  set_threads(static_cast<int>(
      std::min<std::int64_t>(most, std::int64_t{world.ranks()} * world.threads_per_rank())));
}

}  // namespace pcpp
