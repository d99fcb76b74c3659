#include "base/threads.h"

#include <gtest/gtest.h>
#include <pthread.h>

#include <cfenv>
#include <stop_token>
#include <vector>

#include "support/signal_mask.h"

namespace pcpp {
namespace {

TEST(MakeThread, HandlersOfSignalsDoNotRunOnTheThreadAndOnThoseThatItMakes) {
  std::vector<int> blocked;
  std::vector<int> blocked_below;
  make_thread([&] {
    blocked = blocked_of({SIGINT, SIGPROF, SIGALRM, SIGUSR1, SIGRTMIN, SIGSEGV, SIGFPE});
    std::jthread([&] { blocked_below = blocked_of({SIGPROF, SIGBUS}); }).join();
  }).join();
  EXPECT_EQ(blocked, (std::vector<int>{SIGINT, SIGPROF, SIGALRM, SIGUSR1, SIGRTMIN}));
  EXPECT_EQ(blocked_below, (std::vector<int>{SIGPROF}));
}

TEST(MakeThread, LeavesTheCallersSignalsAsTheyWere) {
  make_thread([] {}).join();
  EXPECT_EQ(blocked_of({SIGINT, SIGPROF}), std::vector<int>{});
}

TEST(MakeThread, RoundsToNearestWhateverTheCallerDoes) {
  std::fesetround(FE_TOWARDZERO);
  int rounding = -1;
  make_thread([&] { rounding = std::fegetround(); }).join();
  EXPECT_EQ(rounding, FE_TONEAREST);
  EXPECT_EQ(std::fegetround(), FE_TOWARDZERO);
  std::fesetround(FE_TONEAREST);
}

TEST(MakeThread, StopsAThreadThatTakesAToken) {
  bool stopped = false;
  {
    const std::jthread thread = make_thread([&](const std::stop_token& stop) {
      while (!stop.stop_requested()) std::this_thread::yield();
      stopped = true;
    });
  }
  EXPECT_TRUE(stopped);
}

TEST(MakeThread, ARefusedThreadIsAnErrorOfTheDevice) {
  pthread_attr_t before;
  pthread_attr_t huge;
  pthread_getattr_default_np(&before);
  pthread_attr_init(&huge);
  pthread_attr_setstacksize(&huge, std::size_t{1} << 60U);
  pthread_setattr_default_np(&huge);
  EXPECT_THROW(make_thread([] {}), DeviceError);
  pthread_setattr_default_np(&before);
  EXPECT_EQ(blocked_of({SIGINT, SIGPROF}), std::vector<int>{});
}

}  // namespace
}  // namespace pcpp
