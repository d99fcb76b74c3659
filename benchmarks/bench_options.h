// The command line of `bench_denoise`.
#ifndef PCPP_BENCHMARKS_BENCH_OPTIONS_H_
#define PCPP_BENCHMARKS_BENCH_OPTIONS_H_

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "examples/command_line.h"
#include "pcpp/pcpp.h"

namespace pcpp::benchmarks {

using examples::Method;
using examples::Size;

struct BenchOptions {
  std::filesystem::path model;
  std::vector<std::string> prompts = {"a fox under a rainbow"};  // a picture each
  std::vector<Method> methods = {Method::single, Method::distrifusion, Method::pcpp};
  std::vector<int> ranks = {2};
  std::vector<double> partials = {0.3};
  std::vector<int> pools = {0};
  std::vector<Size> sizes;  // empty: the model's own
  std::vector<Guidance> guidances = {Guidance::batched};
  std::vector<std::optional<Link>> links = {std::nullopt};
  bool shared_link = false;
  bool in_turn = false;    // ranks of steady steps compute one by one, each with all of the machine
  std::vector<int> bands;  // for combinations of as many bands
  int steps = 25;
  int sync_steps = 4;
  GroupNormMode group_norm = GroupNormMode::corrected;
  RowFormat row_format = RowFormat::exact;
  double guidance_scale = 3;
  std::uint64_t seed = 0;
  std::optional<SchedulerKind> scheduler;
  examples::DeviceOptions device;
  DataType dtype = DataType::float32;
  int threads = 0;  // of a rank on CPU cores; 0: those shared by the largest number of ranks
  int repeat = 3;
  std::string json;
  std::filesystem::path pictures;  // empty: none are written
  std::filesystem::path traces;    // likewise
};

// The options, or the exit status of a run that ends here: help was asked for (0, printed on the
// standard output), or the command line is wrong (2, one line on the standard error).
std::variant<BenchOptions, int> parse_command_line(int argc, char** argv);

}  // namespace pcpp::benchmarks

#endif  // PCPP_BENCHMARKS_BENCH_OPTIONS_H_
