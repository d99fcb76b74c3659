#include "pipeline/threads.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <cstdint>
#include <mutex>

#include "base/threads.h"

namespace pcpp {

namespace {

// The calling thread's number: the process's, unless it took or was given one before.
int taken_threads() {
  at::internal::lazy_init_num_threads();
  return at::get_num_threads();
}

}  // namespace

void set_threads(int count) {
  static std::mutex setting;
  const std::lock_guard lock(setting);
  if (taken_threads() == count) return;
  int of_process = 0;
  make_thread([&] { of_process = taken_threads(); }).join();
  at::set_num_threads(count);
  make_thread([&] { at::set_num_threads(of_process); }).join();
}

void use_all_threads(const World& world) {
  set_threads(static_cast<int>(std::min<std::int64_t>(
      World::cores(), std::int64_t{world.ranks()} * world.threads_per_rank())));
}

}  // namespace pcpp
