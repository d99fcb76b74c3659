// The ranks that draw a picture together.
#ifndef PCPP_WORLD_H_
#define PCPP_WORLD_H_

#include "pcpp/export.h"

namespace pcpp {

// N ranks as threads of this process, each computing on CPU cores. A plain value: the threads live
// only while a request runs, so a failed request leaves nothing behind that must be rebuilt.
class PCPP_EXPORT World {
 public:
  // `ranks` 0: one for each core that the process may use. `threads_per_rank` 0: the cores shared
  // evenly. Throws ConfigError for negative or absurd (over 1024) numbers.
  explicit World(int ranks = 0, int threads_per_rank = 0);

  int ranks() const { return ranks_; }
  int threads_per_rank() const { return threads_per_rank_; }

  // The cores that this process may use.
  static int cores();

 private:
  int ranks_;
  int threads_per_rank_;
};

}  // namespace pcpp

#endif  // PCPP_WORLD_H_
