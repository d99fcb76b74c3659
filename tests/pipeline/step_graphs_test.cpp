#include "pipeline/step_graphs.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/zeros.h>
#include <c10/core/InferenceMode.h>
#include <gtest/gtest.h>

#include <array>
#include <stdexcept>

#include "parallel/forwarding_transport.h"
#include "pipeline/on_gpus.h"

namespace pcpp {
namespace {

constexpr auto kTimeout = std::chrono::minutes(1);

// One rank on the first GPU, with an exchange that moves nothing.
class StepGraphsTest : public OnGpus {
 protected:
  void SetUp() override {
    OnGpus::SetUp();
    if (IsSkipped() || HasFatalFailure()) return;
    hubs_ = gpus().hubs({0}, GpuTransport::peer);
    hub_ = hubs_->make(1, kTimeout);
    transport_ = hub_->endpoint(0);
    scope_ = gpus().enter(0, transport_->stream());
    exchange_ = transport_->prepare(0, Lane::stale, {});
    for (at::Tensor* tensor : {&input_, &outputs_[0], &outputs_[1]}) {
      *tensor = at::zeros({4}, at::TensorOptions(at::kFloat).device(gpus().device(0)));
    }
  }

  // The outputs take turns; returns whether the step was called.
  bool run(StepGraphs& graphs, int step) {
    input_.fill_(step);
    at::Tensor output = outputs_.at(static_cast<std::size_t>(step % 2));
    return graphs.run([this, &graphs, output] {
      const at::Tensor doubled = input_.mul(2);
      graphs.start(exchange_);
      graphs.wait(exchange_, deadline_in(kTimeout));
      output.copy_(doubled.add(1));
    });
  }

  float output(int step) {
    transport_->drain(deadline_in(kTimeout));
    return outputs_.at(static_cast<std::size_t>(step % 2)).select(0, 3).item<float>();
  }

  const c10::InferenceMode inference_;
  std::unique_ptr<GpuHubs> hubs_;
  std::unique_ptr<Hub> hub_;
  std::unique_ptr<Transport> transport_;
  std::unique_ptr<GpuScope> scope_;
  ExchangeId exchange_ = -1;
  at::Tensor input_;
  std::array<at::Tensor, 2> outputs_;
};

TEST_F(StepGraphsTest, CallTwoStepsAndRepeatThem) {
  StepGraphs graphs(*transport_, kTimeout, {});
  for (int step = 0; step < 6; ++step) {
    EXPECT_EQ(run(graphs, step), step < 2);
    EXPECT_EQ(output(step), static_cast<float>(2 * step + 1));
    EXPECT_EQ(graphs.count(), 2);  // nothing lies between start and wait
  }
  graphs.clear();
  EXPECT_EQ(graphs.count(), 0);
  EXPECT_TRUE(run(graphs, 6));
  EXPECT_EQ(output(6), 13);
}

// Knows whether something was started that may not be on its way.
class Unflushed final : public ForwardingTransport {
 public:
  using ForwardingTransport::ForwardingTransport;
  void start(ExchangeId exchange) override {
    ForwardingTransport::start(exchange);
    is_pending = true;
  }
  void flush(Deadline deadline) override {
    ForwardingTransport::flush(deadline);
    is_pending = false;
  }
  bool is_pending = false;
};

TEST_F(StepGraphsTest, RecordOnlyWhenAllThatWasStartedIsOnItsWay) {
  Unflushed transport(*transport_);
  StepGraphs graphs(transport, kTimeout, {});
  transport.start(exchange_);
  EXPECT_TRUE(graphs.run([&] {
    EXPECT_FALSE(transport.is_pending);
    graphs.wait(exchange_, deadline_in(kTimeout));
    graphs.start(exchange_);
    EXPECT_FALSE(transport.is_pending);
  }));
}

TEST_F(StepGraphsTest, AFailedRecordingHindersNoOther) {
  {
    StepGraphs graphs(*transport_, kTimeout, {});
    EXPECT_THROW(graphs.run([] { throw std::runtime_error("lost"); }), std::runtime_error);
  }
  StepGraphs graphs(*transport_, kTimeout, {});
  EXPECT_TRUE(run(graphs, 1));
  EXPECT_EQ(output(1), 3);
}

}  // namespace
}  // namespace pcpp
