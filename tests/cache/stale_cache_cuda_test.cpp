// The stale cache over the GPU transports and the fake CUDA runtime: whatever the devices do in
// whatever order, it reads what it reads over the local transport.
#include <gtest/gtest.h>

#include "cache/cache_steps.h"
#include "support/fake_worlds.h"

namespace pcpp {
namespace {

class StaleCacheCudaTest : public ::testing::TestWithParam<testing::MethodCase> {};

TEST_P(StaleCacheCudaTest, ReadsWhatItReadsOverTheLocalTransport) {
  for (const testing::TransportCase& transport : testing::peer_cases()) {
    SCOPED_TRACE(transport.name);
    testing::run_steps(GetParam(), *transport.make(GetParam().ranks));
  }
}

INSTANTIATE_TEST_SUITE_P(Methods, StaleCacheCudaTest, ::testing::ValuesIn(testing::method_cases()),
                         [](const auto& suite) { return suite.param.name; });

}  // namespace
}  // namespace pcpp
