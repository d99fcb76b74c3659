// What a picture will cost on given devices, before any is drawn: predictions for every arrangement
// of the work, and the fastest of them.
#ifndef PCPP_PLAN_H_
#define PCPP_PLAN_H_

#include <cstdint>
#include <filesystem>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "pcpp/config.h"
#include "pcpp/export.h"
#include "pcpp/trace.h"
#include "pcpp/world.h"

namespace pcpp {

// Kinds of work, each with a unit of its own.
enum class WorkKind {
  convolution,    // multiply-accumulates (MACs) of 3x3 convolutions
  linear,         // MACs of products with weights, 1x1 convolutions included
  attention,      // MACs of scores and of their products with values
  normalisation,  // bytes that GroupNorm and LayerNorm read and write
  elementwise,    // bytes that a step reads and writes elsewhere
  exchange,       // bytes that a rank packs and sends in a steady step; the time to do so, and to
                  // lay what it receives beside its own rows
  gather,         // bytes of noise that a rank sends in a step; the time from the slowest rank's
                  // computation to the step's end, less what the profile's link takes of it
};

// Each enumerator as it is spelt.
PCPP_EXPORT std::string_view name_of(WorkKind kind);

// How long one call of one kind takes by the work in it.
struct RateCurve {
  struct Point {
    double work = 0;  // in the kind's unit
    double seconds = 0;
  };
  WorkKind kind = WorkKind::convolution;
  // What of the operator's call does not depend on rows, such as "320>640 x2" in a batch of two;
  // empty: any.
  std::string shape = {};
  int devices = 1;                 // how many computed at once when it was measured
  std::vector<Point> points = {};  // at least one, work ascending, seconds linear between them
};

// What is known of one device and of the link between two. A plain value.
struct PCPP_EXPORT DeviceProfile {
  std::string name = {};
  std::string source = {};  // where the numbers come from
  // On the machine that runs the plan; else all that follows is a prediction.
  bool measured = false;
  DataType dtype = DataType::float32;  // of the networks that the curves are for
  std::int64_t memory_bytes = 0;       // of one device; 0: not known
  std::optional<Link> link = {};       // absent: memory that the devices share
  std::vector<RateCurve> curves = {};
  // What weights took beyond the model's size where the curves were measured, to make convolutions
  // faster.
  std::int64_t extra_weight_bytes = 0;

  // The GPUs known by name, for 16-bit networks: a100-nvlink, a100-pcie, h100-nvlink,
  // rtx4090-pcie. Sources: src/planner/named_profiles.cpp.
  static const std::vector<DeviceProfile>& known();
  // Throws ConfigError, with the names that there are, for another name.
  static const DeviceProfile& named(const std::string& name);

  // JSON. load() throws CheckpointError for a file that cannot be read or is not a profile, save()
  // OutputError where the file cannot be written, and ConfigError for what load() would refuse.
  static DeviceProfile load(const std::filesystem::path& file);
  void save(const std::filesystem::path& file) const;
};

// What is to be drawn, and on how many devices at most.
struct PlanRequest {
  int width = 0;  // pixels; 0: the model's own size
  int height = 0;
  int images = 1;
  bool guided = true;  // both branches of guidance run; never with ModelInfo::guidance_embedded
  int devices = 1;
  // The methods to try beside one device; their `guidance` and `bands` are tried in all ways.
  std::vector<ParallelConfig> methods = {ParallelConfig::distrifusion(), ParallelConfig::pcpp()};
  std::optional<std::filesystem::path> configs = {};    // as PipelineOptions::configs
  std::vector<std::filesystem::path> controlnets = {};  // likewise; all of them run
};

// One arrangement of the work and what it is predicted to cost in a steady step. To draw by it:
// GenerationRequest::parallel = parallel, of the plan's width and height, by a pipeline of World(
// ranks) or World::cuda({}, ranks).
struct PlannedRun {
  int ranks = 1;
  ParallelConfig parallel = {};  // guidance and bands as planned: with `ranks`, the arrangement
  bool balanced = false;         // the bands are balanced by cost; else they are as equal as can be
  double mean_flops = 0;         // of a device; twice the multiply-accumulates
  double slowest_flops = 0;      // of the device that takes longest
  SiteBytes sent = {};           // of a device, the mean
  std::int64_t weight_bytes = 0;  // the profile's extra ones included
  // Estimate: the most that live at once in a step, of the largest band. What ControlNets make of
  // their images, and keep of them, is not in it.
  std::int64_t activation_bytes = 0;
  // Of the device that has most: the stale rows, and where it packs and receives others.
  std::int64_t stale_bytes = 0;
  std::int64_t buffer_bytes = 0;
  bool fits = true;  // all four into the device's memory, where that is known: one rank's
  double step_ms = 0;
  double exposed_ms = 0;  // communication that no computation hides, in it
  double speedup = 1;     // over one device

  std::int64_t memory_bytes() const {
    return weight_bytes + activation_bytes + stale_bytes + buffer_bytes;
  }
};

struct PCPP_EXPORT Plan {
  int width = 0;
  int height = 0;
  std::string profile = {};           // its name
  bool measured = false;              // the profile's
  bool guided = false;                // whether both branches run
  std::vector<PlannedRun> runs = {};  // one device first

  // The run of the shortest step among those that fit, one device where nothing is faster.
  // Throws ConfigError where there is no run.
  const PlannedRun& fastest() const;
};

// From the model's configs alone; no weights are read (of a single file a few, to tell its family).
// `model` is what Pipeline takes. It takes longer with every device more: of 64 at 4096x4096 some
// seconds, of hundreds at 16384x16384 minutes. Throws CheckpointError for a model that cannot be
// read, ConfigError for a request that cannot be met, Cancelled soon after `stop` is requested.
PCPP_EXPORT Plan make_plan(const std::filesystem::path& model, const PlanRequest& request,
                           const DeviceProfile& profile, const std::stop_token& stop = {});

// Times the model's own operators at the request's size on one rank of `world`, and on 2, 4, ...
// and all of its ranks at once. Takes some ten steps of one device and some twenty of all, and up
// to five times that where a step is short, on weights made for it. The curves serve other sizes
// too, less well the further they are. Between GPUs the link is that of the fastest transfers seen,
// and steps are launched without CUDA graphs: small bands will be faster with them. Throws
// ConfigError for a request that cannot be met, before anything is timed, CheckpointError for a
// model that cannot be read, TransportError where a rank waits for another for ten minutes,
// DeviceError, and Cancelled from within a step once `stop` is requested.
PCPP_EXPORT DeviceProfile measure_profile(const std::filesystem::path& model,
                                          const PlanRequest& request, DataType dtype,
                                          const World& world, const std::stop_token& stop = {});

}  // namespace pcpp

#endif  // PCPP_PLAN_H_
