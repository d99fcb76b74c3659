// bench_kernels: kernels beside what libtorch has for the same. See benchmarks/README.md.

#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <c10/core/InferenceMode.h>
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdio>
#include <exception>
#include <iterator>
#include <stdexcept>
#include <string>
#include <vector>

#include "kernel_case.h"

namespace pcpp::benchmarks {

namespace {

struct KernelOptions {
  std::string filter;
  int threads = 1;
  double seconds = 1;
};

double milliseconds(const std::function<void()>& function) {
  using Clock = std::chrono::steady_clock;
  const auto start = Clock::now();
  function();
  return std::chrono::duration<double, std::milli>(Clock::now() - start).count();
}

double median(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

// Both compute the same, or nothing is timed. Also the warm-up.
void verify(const KernelCase& which, const KernelRun& run) {
  const at::Tensor expected = run.libtorch().to(at::kDouble);
  const double error = (run.ours().to(at::kDouble) - expected).norm().item<double>() /
                       expected.norm().item<double>();
  if (!(error <= run.relative_bound)) {
    throw std::runtime_error(
        fmt::format("{}, {}, {}: {:.1e} from libtorch's result, more than {}: not timed",
                    which.kernel, which.shape, which.dtype, error, run.relative_bound));
  }
  run.products();
}

// One after the other, so that a drift of the machine hits all alike.
std::string timed_row(const KernelCase& which, const KernelOptions& options) {
  constexpr std::size_t kLeastSamples = 3;
  const KernelRun run = which.prepare();
  verify(which, run);
  std::vector<double> ours, libtorch, products;
  double total = 0;
  while (ours.size() < kLeastSamples || total < options.seconds * 1e3) {
    ours.push_back(milliseconds(run.ours));
    libtorch.push_back(milliseconds(run.libtorch));
    products.push_back(milliseconds(run.products));
    total += ours.back() + libtorch.back() + products.back();
  }
  const double ms = median(ours);
  return fmt::format(
      "| {} | {} | {} | {:.3f} | {:.3f} | {:.2f} | {:.3f} | {:.2f} | {:.0f} | {} |\n", which.kernel,
      which.shape, which.dtype, ms, median(libtorch), median(libtorch) / ms, median(products),
      ms / median(products), run.flops / ms / 1e6, ours.size());
}

void run(const KernelOptions& options) {
  const c10::InferenceMode inference;
  at::set_num_threads(options.threads);
  fmt::print(
      "| kernel | shape | dtype | ms | libtorch ms | speed-up | products ms | ms / products | "
      "GFLOP/s | samples |\n"
      "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |\n");
  std::vector<KernelCase> cases = attention_cases();
  std::ranges::move(convolution_cases(), std::back_inserter(cases));
  for (const KernelCase& which : cases) {
    const std::string name = fmt::format("{} {} {}", which.kernel, which.shape, which.dtype);
    if (name.find(options.filter) == std::string::npos) continue;
    fmt::print("{}", timed_row(which, options));
    std::fflush(stdout);
  }
}

int main_with(int argc, char** argv) {
  KernelOptions options;
  CLI::App app("Times kernels beside what libtorch has for the same.", "bench_kernels");
  app.add_option("--filter", options.filter, "only cases whose kernel, shape and dtype hold this");
  app.add_option("--threads", options.threads, "of libtorch")
      ->check(CLI::Range(1, 1024))
      ->capture_default_str();
  app.add_option("--seconds", options.seconds, "time for each case; at least 3 samples are taken")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  try {
    app.parse(argc, argv);
  } catch (const CLI::CallForHelp&) {
    fmt::print("{}", app.help());
    return 0;
  } catch (const CLI::ParseError& error) {
    fmt::print(stderr, "bench_kernels: {} (see bench_kernels --help)\n", error.what());
    return 2;
  }
  try {
    run(options);
    return 0;
  } catch (const std::exception& error) {
    fmt::print(stderr, "error: {}\n", error.what());
    return 1;
  }
}

}  // namespace

}  // namespace pcpp::benchmarks

int main(int argc, char** argv) { return pcpp::benchmarks::main_with(argc, argv); }
