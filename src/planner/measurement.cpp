#include "planner/measurement.h"

#include <ATen/Parallel.h>
#include <c10/core/InferenceMode.h>
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <map>
#include <string>
#include <tuple>
#include <utility>

#include "base/deadline.h"
#include "cache/noise_gather.h"
#include "cache/stale_cache.h"
#include "ops/conv2d.h"
#include "ops/convolution_costs.h"
#include "parallel/local_transport.h"
#include "parallel/rank_group.h"
#include "parallel/timeline.h"

namespace pcpp {

namespace {

constexpr auto kTimeout = std::chrono::minutes(10);
constexpr double kSecondsOfSteps = 2;  // of one arrangement, about
constexpr int kRounds = 2;             // over all arrangements, so that a drift hits all alike

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const std::size_t count = values.size();
  return (values[(count - 1) / 2] + values[count / 2]) / 2;
}

// One rank's steady step.
struct TimedStep {
  double seconds = 0;  // from its begin to the end of the gather
  double wait_seconds = 0;
  double stale_wait_seconds = 0;  // of it, inside the exchange's calls
  std::vector<Work> works;
};
using TimedSteps = std::vector<std::vector<TimedStep>>;  // by rank

struct Arranged {
  int ranks = 1;
  ParallelConfig parallel;
};

class Measurement {
 public:
  Measurement(const UNet& unet, const WorkShape& shape, DataType dtype, int threads)
      : unet_(unet),
        shape_(shape),
        dtype_(dtype),
        threads_(threads),
        network_(unet.config(), dtype, shape.columns) {}

  void add(const Arranged& arranged);
  std::vector<RateCurve> curves() const;

 private:
  using Key = std::tuple<WorkKind, std::string, int>;  // kind, shape, ranks at once

  ExchangePlan plan_for(const Arranged& arranged) const {
    const Topology topology(arranged.ranks, arranged.parallel.guidance, shape_.branches,
                            shape_.rows, unet_.row_unit());
    return {unet_.sites().sites(),
            topology,
            arranged.parallel,
            {shape_.rows, shape_.columns, unet_.config().in_channels, shape_.images,
             network_.element_bytes()}};
  }
  TimedSteps run(const ExchangePlan& plan, int steps) const;
  void run_rank(const ExchangePlan& plan, Transport& transport, int steps,
                std::vector<TimedStep>& timed) const;
  void add_point(WorkKind kind, const std::string& shape, int ranks, double work, double seconds) {
    points_[{kind, shape, ranks}][work].push_back(seconds);
  }

  const UNet& unet_;
  WorkShape shape_;
  DataType dtype_;
  int threads_;
  NetworkWork network_;
  double step_seconds_ = 0;  // of the first arrangement
  std::map<Key, std::map<double, std::vector<double>>> points_;
};

void Measurement::run_rank(const ExchangePlan& plan, Transport& transport, int steps,
                           std::vector<TimedStep>& timed) const {
  const c10::InferenceMode inference;
  at::set_num_threads(threads_);
  StaleCache cache(plan, transport, kTimeout);
  NoiseGather gather(plan, transport, kTimeout);
  PatchContext context(plan, cache, transport.rank(), unet_.sites().text_slots());
  const Topology& topology = plan.topology();
  const std::int64_t halo = (context.is_first() ? 0 : 1) + (context.is_last() ? 0 : 1);
  const PlaceholderInputs inputs(unet_.config(), plan.batch(),
                                 topology.band_of(transport.rank()).size() + halo, shape_.columns,
                                 at::TensorOptions(scalar_type_of(dtype_)));
  WorkLog log(WorkLog::Purpose::time);
  for (int step = 0; step <= steps; ++step) {
    log.clear();
    const Clock::time_point begin = Clock::now();
    const int stale_interval = transport.timeline().begin_interval();
    cache.begin_step(step == 0 ? StepKind::synchronous : StepKind::steady, StepKind::steady);
    const at::Tensor noise =
        unet_(inputs.latents, inputs.timestep, inputs.text, inputs.added, context).to(at::kFloat);
    cache.end_step();
    const at::Tensor dense = noise.contiguous();
    const int gather_interval = transport.timeline().begin_interval();
    gather.run(static_cast<const std::byte*>(dense.const_data_ptr()));
    const double seconds = milliseconds_since(begin) / 1e3 - log.telling_seconds();
    if (step == 0) continue;  // fills the caches and lays out the weights
    const double stale_wait = transport.timeline().wait_ms(stale_interval) / 1e3;
    const double gather_wait = transport.timeline().wait_ms(gather_interval) / 1e3;
    timed.push_back({seconds, stale_wait + gather_wait, stale_wait, log.works()});
  }
  transport.drain(deadline_in(kTimeout));
}

TimedSteps Measurement::run(const ExchangePlan& plan, int steps) const {
  const int ranks = plan.topology().world_size();
  TimedSteps timed(static_cast<std::size_t>(ranks));
  LocalHub hub(ranks);
  run_ranks(hub, [&](Transport& transport) {
    run_rank(plan, transport, steps, timed[static_cast<std::size_t>(transport.rank())]);
  });
  return timed;
}

void Measurement::add(const Arranged& arranged) {
  const ExchangePlan plan = plan_for(arranged);
  const double estimate = step_seconds_ / arranged.ranks;
  const int steps =
      estimate == 0 ? 3 : std::clamp(static_cast<int>(kSecondsOfSteps / kRounds / estimate), 2, 12);
  const TimedSteps timed = run(plan, steps);
  double slowest = 0;
  double ends = 0;
  for (std::size_t rank = 0; rank < timed.size(); ++rank) {
    const int index = static_cast<int>(rank);
    std::map<std::tuple<WorkKind, std::string, double>, std::vector<double>> calls;
    std::vector<double> rests, exchanges, computes, walls;
    for (const TimedStep& step : timed[rank]) {
      double known = 0;
      double exchange = -step.stale_wait_seconds;
      for (const Work& work : step.works) {
        if (work.kind == WorkKind::exchange) {
          exchange += work.seconds;
        } else {
          known += work.seconds;
          calls[{work.kind, work.shape, work.amount}].push_back(work.seconds);
        }
      }
      const double compute = step.seconds - step.wait_seconds;
      computes.push_back(compute);
      walls.push_back(step.seconds);
      exchanges.push_back(exchange);
      rests.push_back(compute - known - exchange);
    }
    for (const auto& [key, seconds] : calls) {
      const auto& [kind, shape, amount] = key;
      add_point(kind, shape_in_batch(shape, plan.batch()), arranged.ranks, amount, median(seconds));
    }
    const BandWork& band = network_.of(plan.topology().band_of(index).size(), plan.batch());
    const std::string any = shape_in_batch("", plan.batch());
    add_point(WorkKind::elementwise, any, arranged.ranks, band.elementwise_bytes, median(rests));
    const SiteBytes sent = plan.sent_bytes(index, StepKind::steady);
    const auto packed = static_cast<double>(sent.total() - sent.gather);
    if (packed > 0) {
      add_point(WorkKind::exchange, any, arranged.ranks, packed, median(exchanges));
    }
    slowest = std::max(slowest, median(computes));
    ends = std::max(ends, median(walls));
  }
  if (arranged.ranks > 1) {
    add_point(WorkKind::gather, "", arranged.ranks, 0, std::max(0.0, ends - slowest));
  } else if (step_seconds_ == 0) {
    step_seconds_ = ends;
  }
}

std::vector<RateCurve> Measurement::curves() const {
  std::vector<RateCurve> curves;
  for (const auto& [key, points] : points_) {
    const auto& [kind, shape, ranks] = key;
    RateCurve curve{kind, shape, ranks, {}};
    for (const auto& [work, seconds] : points) curve.points.push_back({work, median(seconds)});
    curves.push_back(std::move(curve));
  }
  return curves;
}

// One device; then every world with the most and the least reading and with split guidance.
std::vector<Arranged> arrangements_for(const UNet& unet, const WorkShape& shape, int devices) {
  const auto most_patches = static_cast<int>((shape.rows + unet.row_unit() - 1) / unet.row_unit());
  std::vector<int> worlds;
  for (int ranks = 2; ranks < devices; ranks *= 2) worlds.push_back(ranks);
  if (devices > 1) worlds.push_back(devices);
  std::vector<Arranged> all = {{1, ParallelConfig{}}};
  for (const int ranks : worlds) {
    if (ranks <= most_patches) {
      all.push_back({ranks, ParallelConfig::distrifusion()});
      all.push_back({ranks, ParallelConfig::pcpp(0)});
    }
    if (shape.branches == 2 && ranks % 2 == 0 && ranks / 2 <= most_patches) {
      all.push_back({ranks, ParallelConfig::distrifusion()});
      all.back().parallel.guidance = Guidance::split;
    }
  }
  return all;
}

// What transformed weights take more than plain ones.
std::int64_t extra_weight_bytes(const SiteRegistry& sites) {
  std::int64_t bytes = 0;
  for (const PlacedConvolution& placed : sites.convolutions()) {
    const Kernel3x3& kernel = *placed.kernel;
    ConvolutionShape shape;
    shape.in = kernel.in();
    shape.out = kernel.out();
    shape.dtype = kernel.dtype();
    bytes += weight_bytes(shape, kernel.winograd_tile()) - weight_bytes(shape, std::nullopt);
  }
  return bytes;
}

}  // namespace

DeviceProfile measured_profile(const UNet& unet, const WorkShape& shape, DataType dtype,
                               int devices, int threads) {
  Measurement measurement(unet, shape, dtype, threads);
  const std::vector<Arranged> all = arrangements_for(unet, shape, devices);
  for (int round = 0; round < kRounds; ++round) {
    for (const Arranged& arranged : all) measurement.add(arranged);
  }
  DeviceProfile profile;
  profile.name = "measured";
  profile.source = fmt::format("this machine, {} x {} threads, {} pictures of {}x{} latents",
                               devices, threads, shape.images, shape.columns, shape.rows);
  profile.measured = true;
  profile.dtype = dtype;
  profile.extra_weight_bytes = extra_weight_bytes(unet.sites());
  profile.curves = measurement.curves();
  return profile;
}

}  // namespace pcpp
