#include "planner/measurement.h"

#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <chrono>
#include <limits>
#include <map>
#include <mutex>
#include <string>
#include <tuple>
#include <utility>

#include "base/deadline.h"
#include "cache/noise_gather.h"
#include "cache/stale_cache.h"
#include "gpu/gpu.h"
#include "ops/conv2d.h"
#include "ops/convolution_costs.h"
#include "ops/elements.h"
#include "parallel/timeline.h"
#include "planner/costs.h"

namespace pcpp {

namespace {

constexpr double kSecondsOfSteps = 2;  // of one arrangement, about
constexpr int kRounds = 2;             // over all arrangements, so that a drift hits all alike
constexpr std::size_t kMostTransfers = 4096;

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const std::size_t count = values.size();
  return (values[(count - 1) / 2] + values[count / 2]) / 2;
}

// One rank's steady step.
struct TimedStep {
  // Of the timeline: to the gather, and from there.
  int stale_interval = 0;
  int gather_interval = 0;
  double telling_seconds = 0;
  std::vector<Work> works;
  // All that follows is known after the last step.
  double seconds = 0;  // from its begin to the end of the gather
  double wait_seconds = 0;
  double stale_wait_seconds = 0;     // of it, inside the exchange's calls
  std::vector<double> work_seconds;  // of each of `works`
};
using TimedSteps = std::vector<std::vector<TimedStep>>;  // by rank

struct Arranged {
  int ranks = 1;
  ParallelConfig parallel;
};

// What the fastest transfers were like; ranks add theirs at once.
class LinkSpeed {
 public:
  void add(const Timeline& timeline) {
    const std::lock_guard lock(mutex_);
    for (const ExchangeSpan& transfer : timeline.transfers()) {
      if (transfer.milliseconds <= 0) continue;
      const double seconds = transfer.milliseconds / 1e3;
      const auto bytes = static_cast<double>(timeline.sent(transfer.exchange).bytes);
      bytes_per_second_ = std::max(bytes_per_second_, bytes / seconds);
      latency_seconds_ = std::min(latency_seconds_, seconds);
    }
  }
  // Absent: nothing was sent.
  std::optional<Link> link() const {
    if (bytes_per_second_ == 0) return std::nullopt;
    return Link{"measured", bytes_per_second_, latency_seconds_, false};
  }

 private:
  std::mutex mutex_;
  double bytes_per_second_ = 0;
  double latency_seconds_ = std::numeric_limits<double>::infinity();
};

class Measurement {
 public:
  Measurement(const MeasuredRanks& ranks, const WorkShape& shape, DataType dtype,
              const std::stop_token& stop)
      : ranks_(ranks),
        unet_(ranks.unet(0)),
        shape_(shape),
        dtype_(dtype),
        stop_(stop),
        network_(unet_.network(), dtype, shape.columns) {}

  void add(const Arranged& arranged);
  std::vector<RateCurve> curves() const;
  std::optional<Link> link() const { return link_.link(); }

 private:
  using Key = std::tuple<WorkKind, std::string, int>;  // kind, shape, ranks at once

  ExchangePlan plan_for(const Arranged& arranged) const {
    const Topology topology(arranged.ranks, arranged.parallel.guidance, shape_.branches,
                            shape_.rows, unet_.row_unit());
    return {unet_.sites().sites(),
            topology,
            arranged.parallel,
            {shape_.rows, shape_.columns, unet_.config().out_channels, shape_.images,
             network_.dtype()}};
  }
  TimedSteps run(const ExchangePlan& plan, int steps);
  void run_rank(const ExchangePlan& plan, Transport& transport, int steps,
                std::vector<TimedStep>& timed);
  void add_point(WorkKind kind, const std::string& shape, int ranks, double work, double seconds) {
    points_[{kind, shape, ranks}][work].push_back(seconds);
  }

  const MeasuredRanks& ranks_;
  const UNet& unet_;  // of the first
  WorkShape shape_;
  DataType dtype_;
  std::stop_token stop_;
  NetworkWork network_;
  LinkSpeed link_;
  double step_seconds_ = 0;  // of the first arrangement
  double host_seconds_ = 0;  // likewise, for which its host gives a GPU a step
  std::map<Key, std::map<double, std::vector<double>>> points_;
};

// Once the timeline is drained. Where the host computes, telling takes the step's time.
void finish(TimedStep& step, const Timeline& timeline, bool host_computes) {
  step.stale_wait_seconds = timeline.wait_ms(step.stale_interval) / 1e3;
  step.wait_seconds = step.stale_wait_seconds + timeline.wait_ms(step.gather_interval) / 1e3;
  step.seconds =
      (timeline.interval_ms(step.stale_interval) + timeline.interval_ms(step.gather_interval)) /
      1e3;
  if (host_computes) step.seconds -= step.telling_seconds;
  for (const Work& work : step.works) {
    step.work_seconds.push_back(
        std::chrono::duration<double>(timeline.time_of(work.end) - timeline.time_of(work.begin))
            .count());
  }
}

void Measurement::run_rank(const ExchangePlan& plan, Transport& transport, int steps,
                           std::vector<TimedStep>& timed) {
  const c10::InferenceMode inference;
  const bool host_computes = transport.stream() == nullptr;
  Timeline& timeline = transport.timeline();
  if (!host_computes) timeline.keep_spans(kMostTransfers);
  const UNet& unet = ranks_.unet(transport.rank());
  StaleCache cache(plan, transport, ranks_.timeout, stop_);
  NoiseGather gather(plan, transport, ranks_.timeout);
  PatchContext context(plan, cache, transport.rank(), unet.sites().condition_slots());
  const Topology& topology = plan.topology();
  const std::int64_t halo = (context.is_first() ? 0 : 1) + (context.is_last() ? 0 : 1);
  const PlaceholderInputs inputs(unet.network(), plan.batch(),
                                 topology.band_of(transport.rank()).size(), halo, shape_.columns,
                                 at::TensorOptions(scalar_type_of(dtype_)).device(unet.device()));
  WorkLog log(timeline);
  // The first fills caches and lays out weights; on a GPU cuDNN plans for the first steady one's
  // keys.
  const int untimed = host_computes ? 1 : 2;
  for (int step = 0; step < untimed + steps; ++step) {
    log.clear();
    // With graphs a device does not wait for its host, and must not here. As long on all ranks, or
    // they would wait for each other.
    if (!host_computes && step >= untimed) gpus().occupy(host_seconds_);
    const Clock::time_point begin = Clock::now();
    TimedStep times;
    times.stale_interval = timeline.begin_interval();
    cache.begin_step(step == 0 ? StepKind::synchronous : StepKind::steady, StepKind::steady);
    const at::Tensor noise =
        unet(inputs.latents, inputs.timestep, inputs.text, inputs.added, context, inputs.controls)
            .to(at::kFloat);
    cache.end_step();
    const at::Tensor dense = noise.contiguous();
    times.gather_interval = timeline.begin_interval();
    gather.run(static_cast<const std::byte*>(dense.const_data_ptr()));
    timeline.begin_interval();
    if (transport.world_size() == 1 && step == untimed - 1) host_seconds_ = seconds_since(begin);
    times.telling_seconds = log.telling_seconds();
    times.works = log.works();
    if (step >= untimed) timed.push_back(std::move(times));
  }
  transport.drain(deadline_in(ranks_.timeout));
  for (TimedStep& step : timed) finish(step, timeline, host_computes);
  link_.add(timeline);
}

TimedSteps Measurement::run(const ExchangePlan& plan, int steps) {
  const int ranks = plan.topology().world_size();
  TimedSteps timed(static_cast<std::size_t>(ranks));
  ranks_.run(ranks, [&](Transport& transport) {
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
      for (std::size_t call = 0; call < step.works.size(); ++call) {
        const Work& work = step.works[call];
        const double seconds = step.work_seconds[call];
        if (work.kind == WorkKind::exchange) {
          exchange += seconds;
        } else {
          known += seconds;
          calls[{work.kind, work.shape, work.amount}].push_back(seconds);
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
    // Clocks that are read within others count twice: a tiny network's rest may seem to be less.
    add_point(WorkKind::elementwise, any, arranged.ranks, band.elementwise_bytes,
              std::max(0.0, median(rests)));
    const SiteBytes sent = plan.sent_bytes(index, StepKind::steady);
    const auto packed = static_cast<double>(sent.total() - sent.gather);
    if (packed > 0) {
      add_point(WorkKind::exchange, any, arranged.ranks, packed, std::max(0.0, median(exchanges)));
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
  const int most = most_patches(shape.rows, unet.row_unit());
  std::vector<int> worlds;
  for (int ranks = 2; ranks < devices; ranks *= 2) worlds.push_back(ranks);
  if (devices > 1) worlds.push_back(devices);
  std::vector<Arranged> all = {{1, ParallelConfig{}}};
  for (const int ranks : worlds) {
    if (ranks <= most) {
      all.push_back({ranks, ParallelConfig::distrifusion()});
      all.push_back({ranks, ParallelConfig::pcpp(0)});
    }
    if (shape.branches == 2 && ranks % 2 == 0 && ranks / 2 <= most) {
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

DeviceProfile measured_profile(const MeasuredRanks& ranks, const WorkShape& shape, DataType dtype,
                               const std::stop_token& stop) {
  Measurement measurement(ranks, shape, dtype, stop);
  const std::vector<Arranged> all = arrangements_for(ranks.unet(0), shape, ranks.count);
  for (int round = 0; round < kRounds; ++round) {
    for (const Arranged& arranged : all) measurement.add(arranged);
  }
  DeviceProfile profile;
  profile.measured = true;
  profile.dtype = dtype;
  profile.extra_weight_bytes = extra_weight_bytes(ranks.unet(0).sites());
  profile.curves = measurement.curves();
  profile.link = measurement.link();
  if (profile.link) leave_latency_to(*profile.link, profile.curves);
  return profile;
}

}  // namespace pcpp
