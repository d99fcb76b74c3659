// What samples of a time come to.
#ifndef PCPP_BENCHMARKS_QUANTILE_H_
#define PCPP_BENCHMARKS_QUANTILE_H_

#include <vector>

namespace pcpp::benchmarks {

// The q-quantile, q in [0, 1], by linear interpolation between the sorted values. Needs a value.
double quantile(std::vector<double> values, double q);

// The 0.5-quantile.
double median(const std::vector<double>& values);

}  // namespace pcpp::benchmarks

#endif  // PCPP_BENCHMARKS_QUANTILE_H_
