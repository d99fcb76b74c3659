// bench_kernels: kernels beside what libtorch has for the same. See benchmarks/README.md.

#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>
#include <c10/core/InferenceMode.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <charconv>
#include <chrono>
#include <cstddef>
#include <cstdio>
#include <exception>
#include <functional>
#include <iterator>
#include <stdexcept>
#include <string>
#include <system_error>
#include <vector>

#include "gpu/gpu.h"
#include "gpu_timer.h"
#include "kernel_case.h"
#include "quantile.h"

namespace pcpp::benchmarks {

namespace {

constexpr std::size_t kLeastSamples = 3;

struct KernelOptions {
  std::string filter;
  std::string device = "cpu";
  int threads = 1;
  double seconds = 1;
};

double milliseconds(const std::function<void()>& function) {
  using Clock = std::chrono::steady_clock;
  const auto start = Clock::now();
  function();
  return std::chrono::duration<double, std::milli>(Clock::now() - start).count();
}

// Both compute the same, or nothing is timed. Also the warm-up.
void verify(const KernelRun& run) {
  const double error = relative_error(run);
  if (!(error <= run.relative_bound)) {
    throw std::runtime_error(fmt::format("{:.1e} from libtorch's result, more than {}: not timed",
                                         error, run.relative_bound));
  }
}

using Cells = std::vector<std::string>;

// What a table has to say of each case after its name.
struct Table {
  Cells columns;
  std::vector<KernelCase> cases;
  std::function<Cells(const KernelCase&)> measure;
};

void print_row(const Cells& cells) {
  fmt::print("| {} |\n", fmt::join(cells, " | "));
  if (std::fflush(stdout) != 0) throw std::runtime_error("the standard output is full or closed");
}

// libtorch's reasons go on with the calls that led to them.
std::string first_line(const std::string& text) { return text.substr(0, text.find('\n')); }

// A case that fails has the reason in its row, and the others are measured all the same.
void print(const Table& table, const std::string& filter) {
  Cells head = {"kernel", "shape", "dtype"};
  std::ranges::copy(table.columns, std::back_inserter(head));
  print_row(head);
  print_row(Cells(head.size(), "---"));
  int failures = 0;
  int rows = 0;
  for (const KernelCase& which : table.cases) {
    Cells row = {which.kernel, which.shape, which.dtype};
    if (fmt::format("{}", fmt::join(row, " ")).find(filter) == std::string::npos) continue;
    try {
      std::ranges::move(table.measure(which), std::back_inserter(row));
    } catch (const std::exception& error) {
      ++failures;
      row.push_back(first_line(error.what()));
      row.resize(head.size());
    }
    print_row(row);
    ++rows;
  }
  if (rows == 0) throw std::runtime_error(fmt::format("no case's name holds '{}'", filter));
  if (failures > 0) {
    throw std::runtime_error(fmt::format("{} of the cases failed: their rows say why", failures));
  }
}

std::vector<KernelCase> joined(std::vector<KernelCase> cases, std::vector<KernelCase> others) {
  std::ranges::move(others, std::back_inserter(cases));
  return cases;
}

// One after the other, so that a drift of the machine hits all alike.
Cells measured_on_cpu(const KernelCase& which, double seconds) {
  const KernelRun run = which.prepare();
  verify(run);
  run.products();
  std::vector<double> ours, libtorch, products;
  double total = 0;
  while (ours.size() < kLeastSamples || total < seconds * 1e3) {
    ours.push_back(milliseconds(run.ours));
    libtorch.push_back(milliseconds(run.libtorch));
    products.push_back(milliseconds(run.products));
    total += ours.back() + libtorch.back() + products.back();
  }
  const double ms = median(ours);
  return {fmt::format("{:.3f}", ms),
          fmt::format("{:.3f}", median(libtorch)),
          fmt::format("{:.2f}", median(libtorch) / ms),
          fmt::format("{:.3f}", median(products)),
          fmt::format("{:.2f}", ms / median(products)),
          fmt::format("{:.0f}", run.flops / ms / 1e6),
          std::to_string(ours.size())};
}

void run_on_cpu(const KernelOptions& options) {
  print({{"ms", "libtorch ms", "speed-up", "products ms", "ms / products", "GFLOP/s", "samples"},
         joined(attention_cases(), convolution_cases()),
         [&](const KernelCase& which) { return measured_on_cpu(which, options.seconds); }},
        options.filter);
}

Cells measured_on_gpu(const KernelCase& which, double seconds, const GpuTimer& timer) {
  const KernelRun first = which.prepare();
  const bool computes = first.ours != nullptr;
  if (computes) verify(first);
  std::vector<KernelRun> runs = {first};
  while (runs.size() < cold_runs(first.bytes)) runs.push_back(which.prepare());
  std::vector<double> ours, libtorch;
  double total = 0;
  while (libtorch.size() < kLeastSamples || total < seconds * 1e3) {
    total += milliseconds([&] {
      if (computes) ours.push_back(timer.milliseconds(runs, &KernelRun::ours));
      libtorch.push_back(timer.milliseconds(runs, &KernelRun::libtorch));
    });
  }
  const std::string libtorch_us = fmt::format("{:.1f}", median(libtorch) * 1e3);
  if (!computes) return {"", libtorch_us, "", "", "", "", std::to_string(libtorch.size())};
  const double ms = median(ours);
  const double bytes_per_second = first.bytes / (ms * 1e-3);
  return {fmt::format("{:.1f}", ms * 1e3),
          libtorch_us,
          fmt::format("{:.2f}", median(libtorch) / ms),
          fmt::format("{:.0f}", bytes_per_second / 1e9),
          reads_memory(first)
              ? fmt::format("{:.0f}", bytes_per_second / timer.copied_bytes_per_second() * 100)
              : "",
          first.flops == 0 ? "" : fmt::format("{:.1f}", first.flops / ms / 1e9),
          std::to_string(libtorch.size())};
}

void run_on_gpu(const KernelOptions& options) {
  const std::size_t colon = options.device.find(':');
  const int number = colon == std::string::npos ? 0 : std::stoi(options.device.substr(colon + 1));
  const int count = gpus().count();
  if (number >= count) {
    throw std::runtime_error(
        fmt::format("{}: there is no such GPU, only {}: take one from cuda:0 to cuda:{}",
                    options.device, count, count - 1));
  }
  const auto scope = gpus().enter(number, nullptr);
  const at::Device device = gpus().device(number);
  const GpuStream gpu{at::TensorOptions(device), gpus().stream()};
  const GpuTimer timer(device);
  fmt::print("On {}, which copies at {:.0f} GB/s:\n\n", gpus().name(number),
             timer.copied_bytes_per_second() / 1e9);
  print({{"us", "libtorch us", "speed-up", "GB/s", "% of copy", "TFLOP/s", "samples"},
         joined(joined(gpu_cases(gpu), gpu_row_cases(gpu)), gpu_attention_cases(gpu)),
         [&](const KernelCase& which) { return measured_on_gpu(which, options.seconds, timer); }},
        options.filter);
}

void run(const KernelOptions& options) {
  const c10::InferenceMode inference;
  at::set_num_threads(options.threads);
  if (options.device == "cpu") {
    run_on_cpu(options);
  } else {
    run_on_gpu(options);
  }
}

// cpu, cuda or cuda:N.
std::string check_device(const std::string& text) {
  const bool is_device = text == "cpu" || text == "cuda" ||
                         (text.starts_with("cuda:") && text.size() > 5 && text.size() < 9 &&
                          text.find_first_not_of("0123456789", 5) == std::string::npos);
  return is_device ? "" : fmt::format("'{}' is not one of cpu, cuda or one GPU as cuda:0", text);
}

std::string check_seconds(const std::string& text) {
  constexpr double kMost = 3600;
  double seconds = -1;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), seconds);
  const bool is_number = error == std::errc() && end == text.data() + text.size();
  return is_number && seconds >= 0 && seconds <= kMost
             ? ""
             : fmt::format("'{}' is no number in [0, {}]", text, kMost);
}

int main_with(int argc, char** argv) {
  KernelOptions options;
  CLI::App app("Times kernels beside what libtorch has for the same.", "bench_kernels");
  app.add_option("--filter", options.filter, "only cases whose kernel, shape and dtype hold this");
  app.add_option("--device", options.device, "cpu, cuda or cuda:N: whose kernels are timed")
      ->check(check_device)
      ->capture_default_str();
  app.add_option("--threads", options.threads, "of libtorch")
      ->check(CLI::Range(1, 1024))
      ->capture_default_str();
  app.add_option("--seconds", options.seconds, "time for each case; at least 3 samples are taken")
      ->check(check_seconds)
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
