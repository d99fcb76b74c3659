#include "ops/span_log.h"

#include <gtest/gtest.h>

#include <memory>
#include <stdexcept>
#include <string>

#include "parallel/local_transport.h"
#include "parallel/timeline.h"

namespace pcpp {
namespace {

class SpanLogTest : public ::testing::Test {
 protected:
  LocalHub hub_{1};
  std::unique_ptr<Transport> transport_ = hub_.endpoint(0);
};

TEST_F(SpanLogTest, SpansLieInEachOtherAsTheirScopesDo) {
  const std::string inner = "down_blocks.0.resnets.0.norm1";
  const SpanLog log(transport_->timeline(), 10);
  {
    const SpanScope outer("step");
    { const SpanScope scope(inner); }
    transport_->timeline().begin_interval();
    const SpanScope scope("scheduler");
  }
  ASSERT_EQ(log.spans().size(), 3U);
  EXPECT_STREQ(log.spans()[0].name, "step");
  EXPECT_STREQ(log.spans()[1].name, inner.c_str());
  EXPECT_EQ(log.spans()[0].depth, 0);
  EXPECT_EQ(log.spans()[1].depth, 1);
  EXPECT_EQ(log.spans()[2].depth, 1);
  EXPECT_EQ(log.spans()[2].interval, log.spans()[1].interval + 1);
  EXPECT_LE(log.spans()[0].begin, log.spans()[1].begin);
  EXPECT_LE(log.spans()[1].begin, log.spans()[1].end);
  EXPECT_LE(log.spans()[1].end, log.spans()[2].begin);
  EXPECT_LE(log.spans()[2].end, log.spans()[0].end);
}

TEST_F(SpanLogTest, KeepsTheFirstAndCountsTheOthers) {
  const SpanLog log(transport_->timeline(), 2);
  {
    const SpanScope outer("outer");
    const SpanScope middle("middle");
    const SpanScope inner("inner");
  }
  { const SpanScope later("later"); }
  ASSERT_EQ(log.spans().size(), 2U);
  EXPECT_STREQ(log.spans()[1].name, "middle");
  EXPECT_GT(log.spans()[0].end, log.spans()[0].begin);
  EXPECT_EQ(log.left_out(), 2);
}

TEST_F(SpanLogTest, AThreadHasOneAtMostAndNoneBehindItsEnd) {
  {
    const SpanLog log(transport_->timeline(), 2);
    EXPECT_THROW(SpanLog(transport_->timeline(), 2), std::logic_error);
    EXPECT_EQ(SpanLog::current(), &log);
  }
  EXPECT_EQ(SpanLog::current(), nullptr);
}

}  // namespace
}  // namespace pcpp
