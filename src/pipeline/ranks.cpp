#include "pipeline/ranks.h"

#include <c10/core/InferenceMode.h>
#include <c10/util/ScopeExit.h>
#include <fmt/format.h>

#include <exception>
#include <mutex>
#include <set>
#include <stop_token>
#include <string>
#include <utility>

#include "base/check.h"
#include "base/log.h"
#include "ops/elements.h"
#include "ops/gpu_attention.h"
#include "parallel/device_turn.h"
#include "parallel/link_courier.h"
#include "parallel/rank_group.h"
#include "pipeline/threads.h"
#include "pipeline/translate.h"
#include "planner/measurement.h"

namespace pcpp {

namespace {

// libtorch lists its kinds of attention when it is first asked, and takes no lock.
void list_attention(const UNet& unet, DataType dtype) {
  static std::mutex listing;
  const std::lock_guard lock(listing);
  std::set<std::int64_t> sizes = {64};  // CLIP's
  const UNetConfig& config = unet.config();
  for (std::size_t level = 0; level < config.levels.size(); ++level) {
    const UNetLevel& there = config.levels[level];
    if (config.attends_at(level)) sizes.insert(there.channels / there.heads);
  }
  try_cudnn_attention(at::TensorOptions(scalar_type_of(dtype)).device(unet.device()), sizes);
}

}  // namespace

Ranks::Ranks(World world, DataType dtype, const std::function<UNet(at::Device device)>& load)
    : world_(std::move(world)), dtype_(dtype) {
  unets_ = on_each_device([&](at::Device device) {
    UNet unet = load(device);
    if (first_gpu()) list_attention(unet, dtype);
    return unet;
  });
  if (!first_gpu()) return;
  hubs_ = gpus().hubs(world_.gpus(), world_.gpu_transport());
  threads_ = std::make_unique<RankThreads>();
}

Ranks::~Ranks() {
  if (hubs_) end_on_gpu([this] { hubs_.reset(); });
}

void Ranks::check_ended() const {
  check<DeviceError>(has_ended_,
                     "a GPU of {} has not ended what an earlier request gave it, though that "
                     "waited until its peer timeout: restart the process, which gives the GPUs "
                     "back",
                     world_.device());
}

void Ranks::end_on_gpu(const std::function<void()>& function) const noexcept {
  try {
    outside(function);
  } catch (const std::exception& error) {
    log().error("memory of the GPUs is not given back: {}", error.what());
  }
}

std::optional<int> Ranks::gpu_of(int rank) const {
  if (world_.gpus().empty()) return std::nullopt;
  return world_.gpus()[static_cast<std::size_t>(rank)];
}

std::unique_ptr<Hub> Ranks::hub(int count, std::chrono::milliseconds timeout,
                                Courier* courier) const {
  if (!hubs_) return std::make_unique<LocalHub>(count, courier);
  return outside([&] {
    gpus().release_memory();  // what the last request's pictures left: transports need it
    return hubs_->make(count, timeout);
  });
}

void Ranks::run_on(int count, Courier* courier, const RunSettings& settings,
                   const std::function<void(Transport& transport)>& body) const {
  std::optional<DeviceTurn> turn;
  if (first_gpu() && world_.gpu_transport() == GpuTransport::nccl) {
    turn.emplace(std::set(world_.gpus().begin(), world_.gpus().begin() + count), settings.timeout,
                 settings.stop);
  }
  std::optional<GpuAttentionScope> scope_of_attention;
  if (first_gpu()) {
    scope_of_attention.emplace(settings.attention, settings.timeout, settings.stop);
  }
  std::unique_ptr<Hub> hub = this->hub(count, settings.timeout, courier);
  bool has_drawn = false;
  const auto end = c10::make_scope_exit([&] {
    if (!first_gpu()) return;
    end_on_gpu([&] {
      const auto last = c10::make_scope_exit([&] { hub.reset(); });
      has_ended_ = hub->finish();
      if (has_ended_) gpus().release_memory();  // while the ranks' streams are there
    });
    if (!has_drawn) threads_->end();
  });
  const auto on_rank = [&](Transport& transport) {
    const std::optional<int> gpu = gpu_of(transport.rank());
    translated(gpu ? fmt::format("cuda:{}", *gpu) : "the cpu", [&] {
      const c10::InferenceMode inference;
      set_threads(world_.threads_per_rank());
      const auto scope = gpu ? gpus().enter(*gpu, transport.stream()) : nullptr;
      body(transport);
    });
  };
  const std::stop_callback on_stop(settings.stop, [&hub] { hub->stop(); });
  // A CPU's end, and with them the threads of OpenMP that they called.
  threads_ ? run_ranks(*hub, on_rank, *threads_) : run_ranks(*hub, on_rank);
  has_drawn = true;
}

void Ranks::run(int count, const RunSettings& settings,
                const std::function<void(Transport& transport)>& body) const {
  std::optional<LinkCourier> courier;
  if (world_.link()) courier.emplace(*world_.link(), count);
  run_on(count, courier ? &*courier : nullptr, settings, body);
}

DeviceProfile Ranks::measure(const WorkShape& shape, const RunSettings& settings) const {
  // Without an emulated link: the profile names it.
  DeviceProfile profile = measured_profile(
      {world_.ranks(), [this](int rank) -> const UNet& { return unet(rank); },
       [&](int count, const auto& body) { run_on(count, nullptr, settings, body); },
       settings.timeout},
      shape, dtype_, settings.stop);
  profile.name = "measured";
  std::string ranks =
      fmt::format("this machine, {} x {} threads", world_.ranks(), world_.threads_per_rank());
  if (const std::optional<int> gpu = first_gpu()) {
    ranks = fmt::format("{}, {} ranks on {}", gpus().name(*gpu), world_.ranks(), world_.device());
    profile.memory_bytes = gpus().memory_bytes(*gpu);
  } else {
    profile.link = world_.link();
  }
  profile.source = fmt::format("{}, {} pictures of {}x{} latents", ranks, shape.images,
                               shape.columns, shape.rows);
  return profile;
}

}  // namespace pcpp
