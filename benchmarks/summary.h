// What the timed runs of a combination come to: figures, a JSON line, a row of a table.
#ifndef PCPP_BENCHMARKS_SUMMARY_H_
#define PCPP_BENCHMARKS_SUMMARY_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "bench_options.h"
#include "combination.h"
#include "drawing.h"

namespace pcpp::benchmarks {

struct Quantiles {
  double median = 0;
  double p10 = 0;
  double p90 = 0;
};

// Meanings and units: benchmarks/README.md.
struct Summary {
  Combination combination;
  int sync_steps = 0;
  double seconds = 0;
  Quantiles step_ms;
  double wait_ms = 0;  // not a number where ranks compute in turn, as `seconds`
  std::size_t samples = 0;
  std::optional<CoreShares> cores;  // of the run with the most of others
  double speedup = 0;
  SiteBytes bytes_per_step;
  std::int64_t peak_bytes = 0;
  std::int64_t stale_bytes = 0;
  std::vector<double> psnr_db_each;  // by picture; of the five below, the mean over pictures
  double psnr_db = 0;
  double ssim = 0;
  double flip = 0;
  double seam = 0;
  double seam_single = 0;
};

// Figures of `runs`, the first of which has pictures; `single`: the first timed run of one device
// at the same size, with its pictures. `speedup` is left to the caller.
Summary summarize(const Combination& combination, const BenchOptions& options,
                  const std::vector<Drawing>& runs, const Drawing& single);

// The machine, the build and what all combinations share, as one JSON line.
std::string environment_line(const BenchOptions& options, const std::string& scheduler);
std::string json_line(const Summary& summary, const BenchOptions& options);

// A Markdown table with a row for each summary.
std::string markdown_table(const std::vector<Summary>& summaries);

}  // namespace pcpp::benchmarks

#endif  // PCPP_BENCHMARKS_SUMMARY_H_
