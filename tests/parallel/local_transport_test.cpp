#include "parallel/local_transport.h"

#include <gtest/gtest.h>

#include <cstring>
#include <functional>
#include <memory>
#include <string>

#include "parallel/rank_group.h"
#include "pcpp/error.h"
#include "support/couriers.h"

namespace pcpp {
namespace {

using testing::LazyCourier;
using testing::RandomCourier;

constexpr auto kTimeout = std::chrono::minutes(1);

// Every case runs over the direct hub and over couriers that delay and reorder.
struct Delivery {
  std::string name;
  std::function<std::unique_ptr<Courier>()> make;
};

class LocalTransportTest : public ::testing::TestWithParam<Delivery> {
 protected:
  void run(int ranks, const std::function<void(Transport&)>& body) {
    const std::unique_ptr<Courier> courier = GetParam().make();
    LocalHub hub(ranks, courier.get());
    run_ranks(hub, body);
  }
};

void write(std::byte* memory, std::int64_t value) { std::memcpy(memory, &value, sizeof value); }
std::int64_t read(const std::byte* memory) {
  std::int64_t value = 0;
  std::memcpy(&value, memory, sizeof value);
  return value;
}

TEST_P(LocalTransportTest, PiecesArriveFromTheRightPeerInEveryRound) {
  run(4, [](Transport& transport) {
    const int rank = transport.rank();
    Exchange exchange;
    std::byte* out = transport.allocate(8 * 4);
    std::byte* in = transport.allocate(8 * 4);
    for (int peer = 0; peer < 4; ++peer) {
      if (peer == rank) continue;
      exchange.sends.push_back({peer, out + 8 * peer, 8});
      exchange.receives.push_back({peer, in + 8 * peer, 8});
    }
    const ExchangeId id = transport.prepare(7, Lane::stale, exchange);
    for (std::int64_t round = 0; round < 50; ++round) {
      for (int peer = 0; peer < 4; ++peer) write(out + 8 * peer, 1000 * round + 10 * rank + peer);
      transport.start(id);
      transport.wait(id, deadline_in(kTimeout));
      for (int peer = 0; peer < 4; ++peer) {
        if (peer == rank) continue;
        EXPECT_EQ(read(in + 8 * peer), 1000 * round + 10 * peer + rank);
      }
    }
  });
}

TEST_P(LocalTransportTest, NothingIsWrittenBeforeTheReceiverStarts) {
  run(2, [](Transport& transport) {
    std::byte* data = transport.allocate(8);
    std::byte* token = transport.allocate(8);
    const int peer = 1 - transport.rank();
    if (transport.rank() == 0) {
      write(data, 42);
      const ExchangeId send = transport.prepare(0, Lane::stale, {{{peer, data, 8}}, {}});
      const ExchangeId signal = transport.prepare(1, Lane::gather, {{{peer, token, 8}}, {}});
      transport.start(send);
      transport.start(signal);
      transport.wait(signal, deadline_in(kTimeout));
      transport.wait(send, deadline_in(kTimeout));
    } else {
      write(data, 7);
      const ExchangeId receive = transport.prepare(0, Lane::stale, {{}, {{peer, data, 8}}});
      const ExchangeId signal = transport.prepare(1, Lane::gather, {{}, {{peer, token, 8}}});
      transport.start(signal);
      transport.wait(signal, deadline_in(kTimeout));
      EXPECT_EQ(read(data), 7);
      transport.start(receive);
      transport.wait(receive, deadline_in(kTimeout));
      EXPECT_EQ(read(data), 42);
    }
  });
}

TEST_P(LocalTransportTest, ManyExchangesMayBeUnderWay) {
  constexpr int kExchanges = 20;
  run(3, [](Transport& transport) {
    const int next = (transport.rank() + 1) % 3;
    const int previous = (transport.rank() + 2) % 3;
    std::byte* out = transport.allocate(8 * kExchanges);
    std::byte* in = transport.allocate(8 * kExchanges);
    std::vector<ExchangeId> ids;
    for (int i = 0; i < kExchanges; ++i) {
      ids.push_back(transport.prepare(i, Lane::stale,
                                      {{{next, out + 8 * i, 8}}, {{previous, in + 8 * i, 8}}}));
    }
    for (int i = 0; i < kExchanges; ++i) {
      write(out + 8 * i, 100 * transport.rank() + i);
      transport.start(ids[static_cast<std::size_t>(i)]);
    }
    for (int i = kExchanges - 1; i >= 0; --i) {
      transport.wait(ids[static_cast<std::size_t>(i)], deadline_in(kTimeout));
      EXPECT_EQ(read(in + 8 * i), 100 * previous + i);
    }
  });
}

INSTANTIATE_TEST_SUITE_P(
    Deliveries, LocalTransportTest,
    ::testing::Values(Delivery{"direct", [] { return std::unique_ptr<Courier>(); }},
                      Delivery{"lazy", [] { return std::make_unique<LazyCourier>(); }},
                      Delivery{"random", [] { return std::make_unique<RandomCourier>(1); }}),
    [](const auto& suite) { return suite.param.name; });

TEST(LocalTransport, AWaitEndsAtItsDeadline) {
  LocalHub hub(2);
  const std::unique_ptr<Transport> transport = hub.endpoint(0);
  std::byte* memory = transport->allocate(4);
  const ExchangeId id = transport->prepare(0, Lane::stale, {{}, {{1, memory, 4}}});
  transport->start(id);
  EXPECT_THROW(transport->wait(id, deadline_in(std::chrono::milliseconds(1))), TransportError);
}

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
