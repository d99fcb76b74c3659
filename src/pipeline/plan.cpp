#include "pcpp/plan.h"

#include <chrono>
#include <filesystem>
#include <memory>
#include <optional>

#include "io/checkpoint.h"
#include "models/unet.h"
#include "ops/convolution_choice.h"
#include "ops/convolution_costs.h"
#include "ops/elements.h"
#include "pipeline/control_nets.h"
#include "pipeline/model_info.h"
#include "pipeline/options.h"
#include "pipeline/own_thread.h"
#include "pipeline/ranks.h"
#include "pipeline/request.h"
#include "pipeline/threads.h"
#include "pipeline/translate.h"
#include "planner/arrangements.h"
#include "planner/network_work.h"

namespace pcpp {

namespace {

constexpr std::chrono::milliseconds kMeasurementTimeout = std::chrono::minutes(10);

struct Model {
  Model(const std::filesystem::path& path, const PlanRequest& request)
      : checkpoint(Checkpoint::open(path, {.configs = request.configs})),
        network(read_unet_config(checkpoint.component("unet").config())) {
    const auto controls = open_control_nets(request.controlnets, std::nullopt, network.unet);
    info = model_info(checkpoint, network.unet, controls);
    network = network_of(network.unet, controls);
  }
  Checkpoint checkpoint;
  NetworkConfig network;
  ModelInfo info;
};

RequestSizes sizes_of(const PlanRequest& request, ModelInfo info) {
  // What masks and control images show does not change what a step costs.
  info.inpainting = false;
  info.controlnets = 0;
  GenerationRequest picture;
  picture.prompts = {""};
  picture.width = request.width;
  picture.height = request.height;
  picture.images_per_prompt = request.images;
  picture.guidance_scale = request.guided ? 2 : 1;
  return check_request(picture, info);
}

WorkShape shape_of(const RequestSizes& sizes) {
  return {sizes.rows, sizes.columns, sizes.images, sizes.guided ? 2 : 1};
}

}  // namespace

Plan make_plan(const std::filesystem::path& model, const PlanRequest& request,
               const DeviceProfile& profile, const std::stop_token& stop) {
  return translated("the cpu", [&] {
    const Model opened(model, request);
    const RequestSizes sizes = sizes_of(request, opened.info);
    return Plan{sizes.width,
                sizes.height,
                profile.name,
                profile.measured,
                sizes.guided,
                plan_arrangements(opened.network, shape_of(sizes), request.devices, request.methods,
                                  profile, stop)};
  });
}

DeviceProfile measure_profile(const std::filesystem::path& model, const PlanRequest& request,
                              DataType dtype, const World& world, const std::stop_token& stop) {
  check_dtype(dtype, world);
  return translated(world.device(), [&] {
    const Model opened(model, request);
    const WorkShape shape = shape_of(sizes_of(request, opened.info));
    check_arrangements(request.devices, request.methods);
    check_not_stopped(stop);
    const auto ranks = on_own_thread([&] {
      auto made = std::make_unique<Ranks>(world, dtype, [&](at::Device device) {
        return made_unet(opened.network,
                         [&] { return WeightScope::constants(scalar_type_of(dtype), device); });
      });
      set_threads(world.threads_per_rank());
      choose_convolutions(made->unet().sites(), usual_images(opened.info),
                          PipelineOptions().extra_weight_bytes, default_convolution_times(), stop);
      return made;
    });
    return ranks->measure(shape, {kMeasurementTimeout, AttentionChoice(), stop});
  });
}

}  // namespace pcpp
