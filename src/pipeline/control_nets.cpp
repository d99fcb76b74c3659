#include "pipeline/control_nets.h"

#include <ATen/TensorOperators.h>

#include <algorithm>
#include <stop_token>
#include <utility>

#include "pipeline/pictures.h"
#include "pipeline/tensors.h"

namespace pcpp {

namespace {

at::Tensor to_control(const Image& image, std::int64_t height, std::int64_t width) {
  return (to_pixels(image, height, width) + 1) / 2;
}

// As diffusers, in double precision.
bool steers(const Control& control, int step, int steps) {
  return !(static_cast<double>(step) / steps < control.begin ||
           static_cast<double>(step + 1) / steps > control.end);
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
  if (step < first || step >= end) return {};
  return {image, step < begin ? 0 : scale};
}

bool ControlTask::does_alike(int step, int other) const {
  const auto part = [this](int of) { return (of >= first) + (of >= begin) + (of >= end); };
  return part(step) == part(other);
}

std::vector<ControlTask> control_tasks(const GenerationRequest& request, const RequestSizes& sizes,
                                       const ParallelConfig& parallel, int patches, int steps) {
  std::vector<ControlTask> tasks;
  for (const Control& control : request.controls) {
    ControlTask task;
    task.images = for_each_picture(all_of(control.images, to_control, sizes, request.stop), sizes);
    task.scale = control.scale;
    while (task.begin < steps && !steers(control, task.begin, steps)) ++task.begin;
    task.end = task.begin;
    while (task.end < steps && steers(control, task.end, steps)) ++task.end;
    // Its first step must be synchronous where the bands read each other's rows.
    const bool reads_others = patches > 1 && parallel.reach != Reach::none;
    task.first = reads_others ? std::min(task.begin, parallel.sync_steps - 1) : task.begin;
    if (task.begin == task.end) task.first = task.end;
    tasks.push_back(std::move(task));
  }
  return tasks;
}

std::vector<at::Tensor> embed_controls(const std::vector<ControlTask>& tasks, const UNet& unet,
                                       RowRange band, Reach reach, std::int64_t repeats,
                                       at::ScalarType dtype) {
  std::vector<at::Tensor> embedded;
  for (std::size_t i = 0; i < tasks.size(); ++i) {
    const std::int64_t scale = unet.network().controls[i].scale();
    const std::int64_t halo = reach == Reach::none ? 0 : ControlNet::kHalo;
    const RowRange image{0, tasks[i].images.size(2) / scale};
    const RowRange rows = intersect({band.begin - halo, band.end + halo}, image);
    const at::Tensor pixels =
        tasks[i].images.slice(2, rows.begin * scale, rows.end * scale).to(unet.device(), dtype);
    const at::Tensor made =
        unet.control(i).embed(pixels, band.begin - rows.begin, rows.end - band.end);
    embedded.push_back(made.repeat({repeats, 1, 1, 1}).contiguous(at::MemoryFormat::ChannelsLast));
  }
  return embedded;
}

}  // namespace pcpp
