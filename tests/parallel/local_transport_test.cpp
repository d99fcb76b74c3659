#include "parallel/local_transport.h"

#include <gtest/gtest.h>

#include <memory>

#include "parallel/transport_suite.h"
#include "pcpp/error.h"

namespace pcpp {
namespace {

constexpr auto kTimeout = std::chrono::minutes(1);

INSTANTIATE_TEST_SUITE_P(Local, TransportTest, ::testing::ValuesIn(testing::local_cases()),
                         name_of_case);

TEST(LocalTransport, AnAbortEndsEveryWaitWithItsReason) {
  LocalHub hub(2);
  const std::unique_ptr<Transport> transport = hub.endpoint(0);
  const ExchangeId id = transport->prepare(0, Lane::stale, {{}, {{1, transport->allocate(4), 4}}});
  transport->start(id);
  hub.abort("rank 1 failed");
  hub.abort("a later reason");
  try {
    transport->wait(id, deadline_in(kTimeout));
    FAIL() << "no error";
  } catch (const TransportError& error) {
    EXPECT_STREQ(error.what(), "rank 1 failed");
  }
}

TEST(LocalTransport, EndsThatDisagreeAreRefused) {
  LocalHub hub(2);
  const std::unique_ptr<Transport> a = hub.endpoint(0);
  const std::unique_ptr<Transport> b = hub.endpoint(1);
  const ExchangeId send = a->prepare(0, Lane::stale, {{{1, a->allocate(4), 4}}, {}});
  const ExchangeId receive = b->prepare(0, Lane::stale, {{}, {{0, b->allocate(8), 8}}});
  a->start(send);
  EXPECT_THROW(b->start(receive), TransportError);
  EXPECT_THROW(a->prepare(0, Lane::stale, {{{1, a->allocate(4), 4}}, {}}), TransportError);
  EXPECT_THROW(hub.endpoint(2), ConfigError);
}

}  // namespace
}  // namespace pcpp
