// What is measured: one method on some ranks at one size, over one link.
#ifndef PCPP_BENCHMARKS_COMBINATION_H_
#define PCPP_BENCHMARKS_COMBINATION_H_

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "bench_options.h"
#include "pcpp/pcpp.h"

namespace pcpp::benchmarks {

struct Combination {
  Method method = Method::single;
  int ranks = 1;
  std::optional<double> partial;  // of pcpp alone
  std::optional<int> pool;        // likewise
  Size size;
  Guidance guidance = Guidance::batched;
  std::optional<Link> link;
  std::vector<int> bands;  // latent rows; empty: as equal as possible

  bool is_single() const { return method == Method::single; }
  bool is_split() const { return guidance == Guidance::split; }
  // Naive ranks never wait for each other's rows.
  bool has_synchronous_steps() const { return method != Method::naive; }
  ParallelConfig parallel(int sync_steps) const;
  // As the command line has them.
  std::string method_word() const;
  std::string guidance_word() const;
  // The same in all but the link.
  bool draws_like(const Combination& other) const;
  std::string text() const;  // "pcpp 0.3 pool 16, 4 ranks, 256x256, batched, ethernet10g"
  // "pcpp-0.3-4ranks-256x256-batched.png", or of several pictures "...-1.png", "...-2.png" and so
  // on; the same over all links, which change no picture.
  std::vector<std::string> picture_names(std::size_t count) const;
  std::string trace_name() const;  // "pcpp-0.3-pool-16-4-ranks-256x256-batched-ethernet10g.json"
};

// Every combination of the options, size by size, each size's `single` first: what the others are
// compared with is there even where it is not asked for. A combination that the model cannot be cut
// into is left out, with a line on the standard error. Throws ConfigError where none but `single`
// is left of others that were asked for.
std::vector<Combination> make_combinations(const BenchOptions& options, const ModelInfo& model);

}  // namespace pcpp::benchmarks

#endif  // PCPP_BENCHMARKS_COMBINATION_H_
