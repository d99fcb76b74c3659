#include "pipeline/threads.h"

#include <ATen/Parallel.h>
#include <omp.h>

#include <algorithm>
#include <cstdint>

#include "base/check.h"

// MKL's, where libtorch has it.
extern "C" {
[[gnu::weak]] void MKL_Set_Dynamic(int on);                // NOLINT(readability-identifier-naming)
[[gnu::weak]] int MKL_Set_Num_Threads_Local(int threads);  // NOLINT(readability-identifier-naming)
}

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
  if (taken_threads() == count) return;
  // What at::set_num_threads() does but for the process's number.
  omp_set_num_threads(count);
  if (MKL_Set_Num_Threads_Local != nullptr) MKL_Set_Num_Threads_Local(count);
  if (MKL_Set_Dynamic != nullptr) MKL_Set_Dynamic(0);
}

void use_all_threads(const World& world) {
  const int most = std::min(World::cores(), most_threads());
  set_threads(static_cast<int>(
      std::min<std::int64_t>(most, std::int64_t{world.ranks()} * world.threads_per_rank())));
}

}  // namespace pcpp
