// Schedulers of each kind, for tests that hold of all.
#ifndef PCPP_TESTS_SCHEDULERS_KINDS_H_
#define PCPP_TESTS_SCHEDULERS_KINDS_H_

#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/stack.h>

#include <array>
#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "schedulers/config_file.h"

namespace pcpp {

inline constexpr std::array kKinds = {SchedulerKind::ddim,         SchedulerKind::euler,
                                      SchedulerKind::dpmpp_2m,     SchedulerKind::unipc,
                                      SchedulerKind::pndm,         SchedulerKind::euler_ancestral,
                                      SchedulerKind::dpmpp_2m_sde, SchedulerKind::lcm};

inline std::unique_ptr<Scheduler> scheduler_of_kind(SchedulerKind kind,
                                                    const std::string& more = {}) {
  return scheduler_from(R"({"skip_prk_steps": true)" + more + "}", {kind});
}

// noise_of in tests/reference/scheduler_make.py, of every step.
inline at::Tensor noises_of(std::size_t steps, at::IntArrayRef shape) {
  std::vector<at::Tensor> noises;
  for (std::size_t step = 0; step < steps; ++step) {
    noises.push_back(
        (at::arange(c10::multiply_integers(shape), at::kFloat) + 1.7 * static_cast<double>(step))
            .cos()
            .reshape(shape));
  }
  return at::stack(noises);
}

}  // namespace pcpp

#endif  // PCPP_TESTS_SCHEDULERS_KINDS_H_
