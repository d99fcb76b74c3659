// A rank's steady steps as CUDA graphs.
#ifndef PCPP_PIPELINE_STEP_GRAPHS_H_
#define PCPP_PIPELINE_STEP_GRAPHS_H_

#include <array>
#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <stop_token>
#include <vector>

#include "gpu/gpu.h"
#include "parallel/forwarding_transport.h"

namespace pcpp {

// A transport that knows where steps can be cut: what the rank's stream is given between two calls
// of start() or wait() becomes a graph, and the calls themselves are made anew in every step. Used
// by the rank's thread alone, with its stream present.
class StepGraphs final : public ForwardingTransport {
 public:
  // `timeout` and `stop` as in StaleCache. `transport` must outlive the object.
  StepGraphs(Transport& transport, std::chrono::milliseconds timeout, std::stop_token stop);

  // Calls `step` and records it; where the last run but one was recorded, does again what that did
  // in place of the call. Returns whether it called. So `step` gives the stream the same work at
  // the same addresses as two runs before.
  bool run(const std::function<void()>& step);

  // Forgets what was recorded and gives back its memory.
  void clear();

  // Graphs of the last run; 0 after clear().
  int count() const;

  void start(ExchangeId exchange) override;
  void wait(ExchangeId exchange, Deadline deadline) override;

 private:
  struct Segment {
    std::unique_ptr<GpuGraph> graph;  // null: the stream was given nothing
    std::function<void()> exchange;   // what the host does next; empty: the step is over
  };
  using Recording = std::vector<Segment>;

  void cut(const std::function<void()>& exchange);
  void repeat(const Recording& recording) const;

  const std::chrono::milliseconds timeout_;
  const std::stop_token stop_;
  std::unique_ptr<GraphRecorder> recorder_;  // outlives its graphs
  std::array<Recording, 2> recordings_;      // of runs that take turns
  std::size_t last_ = 1;                     // which of them ran last
  bool is_recording_ = false;
};

}  // namespace pcpp

#endif  // PCPP_PIPELINE_STEP_GRAPHS_H_
