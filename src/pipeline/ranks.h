// A world's ranks at work: their threads, their devices, and a network on each device.
#ifndef PCPP_PIPELINE_RANKS_H_
#define PCPP_PIPELINE_RANKS_H_

#include <c10/core/InferenceMode.h>

#include <chrono>
#include <functional>
#include <future>
#include <map>
#include <memory>
#include <optional>
#include <stop_token>
#include <type_traits>

#include "gpu/gpu.h"
#include "models/unet.h"
#include "ops/gpu_attention.h"
#include "parallel/local_transport.h"
#include "parallel/rank_threads.h"
#include "parallel/transport.h"
#include "pcpp/pipeline.h"
#include "pipeline/on_device.h"
#include "pipeline/own_thread.h"
#include "planner/network_work.h"

namespace pcpp {

// One network for each device.
template <typename Network>
using OnDevices = std::map<std::optional<int>, Network>;  // by GPU

// What a request says of all that its ranks run.
struct RunSettings {
  std::chrono::milliseconds timeout{};  // for what ranks wait for each other
  // On GPUs: other pipelines that choose otherwise are waited for, as long.
  AttentionChoice attention;
  std::stop_token stop;
};

// Not thread-safe.
class Ranks {
 public:
  // Calls load(device) once for each device, with it present.
  Ranks(World world, DataType dtype, const std::function<UNet(at::Device device)>& load);
  ~Ranks();
  Ranks(const Ranks&) = delete;
  Ranks& operator=(const Ranks&) = delete;

  const World& world() const { return world_; }
  // The GPU of a rank; absent: the CPU.
  std::optional<int> gpu_of(int rank) const;
  // Where text encoders compute.
  std::optional<int> first_gpu() const { return gpu_of(0); }
  const UNet& unet(int rank = 0) const { return unets_.at(gpu_of(rank)); }

  // What load(device) returns, called once for each of the ranks' devices, with it present.
  template <typename Load>
  auto on_each_device(const Load& load) const {
    OnDevices<std::invoke_result_t<Load, at::Device>> networks;
    for (int rank = 0; rank < world_.ranks(); ++rank) {
      const std::optional<int> gpu = gpu_of(rank);
      if (!networks.contains(gpu)) networks.emplace(gpu, on_device(gpu, load));
    }
    return networks;
  }

  // What function() returns, called outside of ranks where the first of them computes, on a GPU
  // with the settings' attention. Throws as GpuAttentionScope does.
  template <typename Function>
  auto on_first(const RunSettings& settings, const Function& function) const {
    std::optional<GpuAttentionScope> scope;
    if (first_gpu()) scope.emplace(settings.attention, settings.timeout, settings.stop);
    return on_device(first_gpu(), [&](at::Device /*device*/) { return function(); });
  }

  // Calls body(transport) for the first `count` ranks, each on a thread of its own, which on GPUs
  // is the same in every call, as what cuDNN prepared is kept there, until one has failed: a plan
  // that cuDNN could not make is kept as well, and would end the process. In inference mode, with
  // its device and its threads. Throws what the first to fail threw, DeviceError where that was
  // libtorch's, Cancelled where a stop was requested before they ran.
  void run(int count, const RunSettings& settings,
           const std::function<void(Transport& transport)>& body) const;

  // Calls function() for what computes outside of ranks and returns what it returns:
  // on_own_thread() for a CPU; on GPUs on the first rank's thread, with the first GPU present.
  template <typename Function>
  auto outside(const Function& function) const {
    if (!threads_) return on_own_thread(function);
    check_ended();
    std::packaged_task<std::invoke_result_t<Function>()> task([this, &function] {
      const c10::InferenceMode inference;
      gpus().make_present(*first_gpu());
      return function();
    });
    threads_->run(1, [&](int /*thread*/) { task(); });
    try {
      return task.get_future().get();
    } catch (...) {
      threads_->end();
      throw;
    }
  }

  // What they cost at this size, on the world's link. Throws Cancelled once a stop is requested.
  DeviceProfile measure(const WorkShape& shape, const RunSettings& settings) const;

 private:
  std::unique_ptr<Hub> hub(int count, std::chrono::milliseconds timeout, Courier* courier) const;
  void run_on(int count, Courier* courier, const RunSettings& settings,
              const std::function<void(Transport& transport)>& body) const;
  // Throws DeviceError once a GPU has not ended in time: whatever asks it for memory, or gives it
  // back, would wait for it without end.
  void check_ended() const;
  // outside(); what is thrown goes to the log.
  void end_on_gpu(const std::function<void()>& function) const noexcept;

  World world_;
  DataType dtype_;
  OnDevices<UNet> unets_;
  std::unique_ptr<GpuHubs> hubs_;         // where ranks compute on GPUs
  std::unique_ptr<RankThreads> threads_;  // likewise
  mutable bool has_ended_ = true;         // what GPUs were given
};

}  // namespace pcpp

#endif  // PCPP_PIPELINE_RANKS_H_
