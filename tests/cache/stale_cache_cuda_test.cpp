// The stale cache over the GPU transports and the fake CUDA runtime: whatever the devices do in
// whatever order, it reads what it reads over the local transport.
#include <gtest/gtest.h>

#include <vector>

#include "cache/cache_steps.h"
#include "support/fake_worlds.h"

namespace pcpp {
namespace {

class StaleCacheCudaTest : public ::testing::TestWithParam<testing::MethodCase> {};

void run_over(const testing::MethodCase& method,
              const std::vector<testing::TransportCase>& transports) {
  for (const testing::TransportCase& transport : transports) {
    SCOPED_TRACE(transport.name);
    testing::run_steps(method, *transport.make(method.ranks));
  }
}

TEST_P(StaleCacheCudaTest, ReadsOverPeersWhatItReadsOverTheLocalTransport) {
  run_over(GetParam(), testing::peer_cases());
}

TEST_P(StaleCacheCudaTest, ReadsOverNcclWhatItReadsOverTheLocalTransport) {
  run_over(GetParam(), testing::nccl_cases());
}

INSTANTIATE_TEST_SUITE_P(Methods, StaleCacheCudaTest, ::testing::ValuesIn(testing::method_cases()),
                         [](const auto& suite) { return suite.param.name; });

}  // namespace
}  // namespace pcpp
