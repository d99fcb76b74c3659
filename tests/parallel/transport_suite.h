// What every transport does. A test program that includes this runs the suite over its own cases:
//   INSTANTIATE_TEST_SUITE_P(Name, TransportTest, ::testing::ValuesIn(cases), name_of_case);
#ifndef PCPP_TESTS_PARALLEL_TRANSPORT_SUITE_H_
#define PCPP_TESTS_PARALLEL_TRANSPORT_SUITE_H_

#include <gtest/gtest.h>

#include <functional>
#include <string>

#include "support/transport_worlds.h"

namespace pcpp {

class TransportTest : public ::testing::TestWithParam<testing::TransportCase> {
 protected:
  using Compute = std::function<void(std::function<void()>)>;  // on the rank's stream
  void run(int ranks, const std::function<void(Transport&, const Compute&)>& body);
};

inline std::string name_of_case(const ::testing::TestParamInfo<testing::TransportCase>& info) {
  return info.param.name;
}

}  // namespace pcpp

#endif  // PCPP_TESTS_PARALLEL_TRANSPORT_SUITE_H_
