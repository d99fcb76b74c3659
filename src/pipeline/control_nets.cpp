#include "pipeline/control_nets.h"

#include <ATen/TensorOperators.h>

#include <algorithm>
#include <iterator>
#include <stop_token>
#include <utility>

#include "base/check.h"
#include "base/log.h"
#include "ops/span_log.h"
#include "ops/weight_scope.h"
#include "pipeline/pictures.h"
#include "pipeline/tensors.h"

namespace pcpp {

namespace {

at::Tensor to_control(const Image& image, std::int64_t height, std::int64_t width,
                      const std::stop_token& stop) {
  return (to_pixels(image, height, width, stop) + 1) / 2;
}

// Of a single file, whose weights are all that is known of it.
void check_weights(const ControlNetConfig& config, const Weights& weights) {
  try {
    SiteRegistry sites;
    const ControlNet checked(config, WeightScope::shapes_of(weights), sites);
  } catch (const CheckpointError& error) {
    fail<CheckpointError>(
        "{} (a single file is taken to be shaped as the model's own U-Net: this one is for another "
        "model, of another kind or damaged)",
        error.what());
  }
}

}  // namespace

std::vector<ControlNetFile> open_control_nets(const std::vector<std::filesystem::path>& paths,
                                              const std::optional<std::string>& variant,
                                              const UNetConfig& unet) {
  std::vector<ControlNetFile> files;
  for (const std::filesystem::path& path : paths) {
    Component component = Component::control_net(path, variant);
    ControlNetConfig config =
        component.has_config()
            ? read_control_net_config(component.config_object("config.json"),
                                      component.config_source("config.json"))
            : control_net_config_of(component.weights().tensors(), component.place(), unet);
    check_fits(config, unet, component.place());
    if (!component.has_config()) check_weights(config, component.weights());
    files.push_back({std::move(component), std::move(config)});
  }
  return files;
}

NetworkConfig network_of(const UNetConfig& unet, const std::vector<ControlNetFile>& controls) {
  NetworkConfig network(unet);
  for (const ControlNetFile& file : controls) network.controls.push_back(file.config);
  return network;
}

ControlInput ControlTask::input(const at::Tensor& image, int step) const {
  if (!runs_in(step)) return {};
  return {image, step < begin ? 0 : scale, step + 1 == end};
}

bool ControlTask::does_alike(int step, int other) const {
  const auto part = [this](int of) {
    return (of >= first) + (of >= begin) + (of + 1 >= end) + (of >= end);
  };
  return part(step) == part(other);
}

ControlTask ControlTask::within(StepRange phase, const ParallelConfig& parallel,
                                int patches) const {
  ControlTask part = *this;
  part.begin = std::clamp(begin, phase.first, phase.end);
  part.end = std::clamp(end, part.begin, phase.end);
  // Its first step must be synchronous where the bands read each other's rows.
  const bool reads_others = patches > 1 && parallel.reach != Reach::none;
  const int last_synchronous = std::max(parallel.sync_steps - 1, phase.first);
  part.first = reads_others ? std::min(part.begin, last_synchronous) : part.begin;
  if (part.begin == part.end || scale == 0) part.first = part.end;
  return part;
}

std::vector<ControlTask> control_tasks(const GenerationRequest& request, const RequestSizes& sizes,
                                       int steps) {
  std::vector<ControlTask> tasks;
  for (const Control& control : request.controls) {
    ControlTask task;
    task.images = all_of(control.images, to_control, sizes, request.stop);
    task.pictures = sizes.images / std::ssize(control.images);
    task.scale = control.scale;
    const StepRange steered = steps_within(control.start, control.end, steps);
    task.first = task.begin = steered.first;
    task.end = steered.end;
    if (steered.empty()) {
      log().warn(
          "a control from {} to {} steers none of the {} steps: begin it earlier, end it later or "
          "ask for more steps",
          control.start, control.end, steps);
    }
    tasks.push_back(std::move(task));
  }
  return tasks;
}

RowRange ControlSlice::rows(const ControlTask& task) const {
  const std::int64_t halo = reach == Reach::none ? 0 : ControlNet::kHalo;
  return intersect({band.begin - halo, band.end + halo}, {0, task.images.size(2) / scale});
}

at::Tensor control_pixels(const ControlTask& task, const ControlSlice& slice) {
  const RowRange rows = slice.rows(task);
  return task.images.slice(2, rows.begin * slice.scale, rows.end * slice.scale)
      .to(slice.device, slice.dtype);
}

at::Tensor embed_control(const ControlTask& task, const ControlNet& net, const ControlSlice& slice,
                         const at::Tensor& pixels) {
  const SpanScope scope("control image");
  const RowRange rows = slice.rows(task);
  return net.embed(pixels, slice.band.begin - rows.begin, rows.end - slice.band.end)
      .repeat_interleave(task.pictures, 0)
      .repeat({slice.branches, 1, 1, 1})
      .contiguous(at::MemoryFormat::ChannelsLast);
}

}  // namespace pcpp
