// How busy other programs keep the machine while something is timed.
#ifndef PCPP_BENCHMARKS_OTHER_PROGRAMS_H_
#define PCPP_BENCHMARKS_OTHER_PROGRAMS_H_

#include <istream>
#include <optional>

namespace pcpp::benchmarks {

// Seconds that a machine's cores were busy or taken from it since it started, by the first line of
// /proc/stat; absent where it is another file.
std::optional<double> busy_seconds(std::istream& stat);

// From its making on.
class OtherPrograms {
 public:
  OtherPrograms();

  // How many cores others kept busy so far, in the mean: all but this process and those of its
  // children that it has waited for. Absent where the system does not tell.
  std::optional<double> cores() const;

 private:
  std::optional<double> begin_;
  double wall_begin_;
};

}  // namespace pcpp::benchmarks

#endif  // PCPP_BENCHMARKS_OTHER_PROGRAMS_H_
