#include "ops/span_log.h"

#include <gtest/gtest.h>

#include <memory>
#include <stdexcept>
#include <string>

#include "ops/work.h"
#include "parallel/local_transport.h"
#include "parallel/timeline.h"
#include "pcpp/error.h"

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

// As a GPU's, once it is lost.
class FailingTimeline : public Timeline {
 public:
  Mark mark() override {
    if (fails) throw DeviceError("no more marks");
    return ++marks_;
  }
  Clock::time_point time_of(Mark /*mark*/) const override { return {}; }
  bool fails = false;

 private:
  Mark marks_ = 0;
};

TEST(FailedMarks, AreToldByTheNextScope) {
  FailingTimeline timeline;
  const SpanLog spans(timeline, 10);
  WorkLog works(timeline);
  const auto work = [] { return Work{}; };
  {
    const SpanScope scope("span");
    timeline.fails = true;
  }
  timeline.fails = false;
  EXPECT_THROW(SpanScope("next"), DeviceError);
  { const SpanScope scope("told once"); }
  {
    const WorkScope scope("work", work);
    timeline.fails = true;
  }
  timeline.fails = false;
  EXPECT_THROW(SpanScope("next"), DeviceError);  // of the work's own span
  EXPECT_THROW(WorkScope("next", work), DeviceError);
  { const WorkScope scope("told once", work); }
  EXPECT_EQ(works.works().size(), 1U);
}

TEST(FailedMarks, DoNotEndAProcessThatUnwinds) {
  FailingTimeline timeline;
  const SpanLog spans(timeline, 10);
  const WorkLog works(timeline);
  EXPECT_THROW(
      {
        const SpanScope outer("outer");
        const WorkScope scope("work", [] { return Work{}; });
        timeline.fails = true;
        const SpanScope inner("inner");
      },
      DeviceError);
}

}  // namespace
}  // namespace pcpp
