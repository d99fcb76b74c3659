// How busy other programs keep the machine while something is timed.
#ifndef PCPP_BENCHMARKS_OTHER_PROGRAMS_H_
#define PCPP_BENCHMARKS_OTHER_PROGRAMS_H_

#include <istream>
#include <optional>
#include <set>

namespace pcpp::benchmarks {

// Of some cores together, since the machine started: seconds in which they were busy, or another
// virtual machine had them, and others.
struct CoreSeconds {
  double busy = 0;
  double idle = 0;
};

// By the lines of /proc/stat; absent where one of `cores` is not there.
std::optional<CoreSeconds> core_seconds(std::istream& stat, const std::set<int>& cores);

// A mean number of cores, of those that this process may use: what programs other than it and those
// of its children that it has waited for kept busy, and what nobody did.
struct CoreShares {
  double others = 0;
  double idle = 0;

  // Whether what was timed had to wait for others, or share caches and memory with them.
  bool are_busy() const { return others > 0.2 && idle < 1; }
};

// From its making on.
class OtherPrograms {
 public:
  OtherPrograms();

  // So far. Absent where the system does not tell.
  std::optional<CoreShares> shares() const;

 private:
  std::set<int> cores_;
  std::optional<CoreSeconds> begin_;
  double own_begin_;
};

}  // namespace pcpp::benchmarks

#endif  // PCPP_BENCHMARKS_OTHER_PROGRAMS_H_
