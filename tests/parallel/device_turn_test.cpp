#include "parallel/device_turn.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <optional>
#include <thread>

#include "pcpp/error.h"
#include "support/errors.h"

namespace pcpp {
namespace {

using namespace std::chrono_literals;

TEST(DeviceTurn, IsOneAtATimeWhereADeviceIsShared) {
  std::optional<DeviceTurn> first(std::in_place, std::set{0, 1}, 0ms);
  testing::expect_error<ConfigError>(
      [] {
        DeviceTurn other({1, 2}, 0ms);
      },
      {"devices 1,2", "0 ms"});
  EXPECT_NO_THROW(DeviceTurn({2, 3}, 0ms));
  first.reset();
  EXPECT_NO_THROW(DeviceTurn({1, 2}, 0ms));
}

TEST(DeviceTurn, WaitsForTheEndOfTheOneBefore) {
  std::optional<DeviceTurn> first(std::in_place, std::set{0}, 0ms);
  std::atomic<bool> first_ends = false;
  std::jthread other([&] {
    const DeviceTurn turn({0, 1}, 1h);
    EXPECT_TRUE(first_ends);
  });
  first_ends = true;
  first.reset();
}

// Else turns that overlap would keep it waiting for ever.
TEST(DeviceTurn, NobodyGoesAheadOfOneWhoWaits) {
  std::optional<DeviceTurn> first(std::in_place, std::set{0}, 0ms);
  std::jthread other([] { const DeviceTurn turn({0, 1}, 1h); });
  const auto deadline = std::chrono::steady_clock::now() + 30s;
  bool refused = false;
  while (!refused && std::chrono::steady_clock::now() < deadline) {
    try {
      const DeviceTurn newcomer({1}, 0ms);
    } catch (const ConfigError&) {
      refused = true;  // the other has come to wait meanwhile
    }
  }
  EXPECT_TRUE(refused);
  first.reset();
}

TEST(DeviceTurn, WaitsNoLongerOnceAStopIsRequested) {
  const DeviceTurn first({0}, 0ms);
  std::stop_source stop;
  std::jthread other([&] { EXPECT_THROW(DeviceTurn turn({0}, 1h, stop.get_token()), Cancelled); });
  stop.request_stop();
  other.join();
  EXPECT_NO_THROW(DeviceTurn({1}, 0ms)) << "nobody waits any more";
}

}  // namespace
}  // namespace pcpp
