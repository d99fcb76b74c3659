#include "pcpp/world.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <numeric>
#include <set>
#include <utility>

#include "base/check.h"
#include "base/cores.h"
#include "base/link.h"
#include "gpu/gpu.h"
#include "pipeline/threads.h"

namespace pcpp {

namespace {

void check_gpus(const std::vector<int>& gpus, int count) {
  for (const int gpu : gpus) {
    check<ConfigError>(
        gpu >= 0 && gpu < count,
        "device cuda:{}: there is no such GPU; this process can use cuda:0 to cuda:{} "
        "(see nvidia-smi and CUDA_VISIBLE_DEVICES)",
        gpu, count - 1);
  }
  check<ConfigError>(
      std::set(gpus.begin(), gpus.end()).size() == gpus.size(),
      "device cuda:{}: a GPU is named twice; name each once, and give more ranks than "
      "GPUs for several on one",
      fmt::join(gpus, ","));
}

}  // namespace

int World::cores() { return usable_cores(); }

World::World(int ranks, int threads_per_rank, std::optional<Link> link)
    : ranks_(ranks), threads_per_rank_(threads_per_rank), link_(std::move(link)) {
  check<ConfigError>(ranks >= 0 && ranks <= World::kMostRanks,
                     "{} ranks are outside [1, {}]; 0 means one for each core", ranks,
                     World::kMostRanks);
  check<ConfigError>(threads_per_rank >= 0 && threads_per_rank <= World::kMostRanks,
                     "{} threads a rank are outside [1, {}]; 0 shares the cores evenly",
                     threads_per_rank, World::kMostRanks);
  if (link_) check_link(*link_);
  if (ranks_ == 0) ranks_ = cores();
  if (threads_per_rank_ == 0) {
    threads_per_rank_ = std::clamp(cores() / ranks_, 1, most_threads());
  }
}

World World::cuda(std::vector<int> gpus, int ranks, GpuTransport transport) {
  const int count = gpu_count();
  if (gpus.empty()) {
    gpus.resize(static_cast<std::size_t>(count));
    std::iota(gpus.begin(), gpus.end(), 0);
  }
  check_gpus(gpus, count);
  World world(ranks == 0 ? static_cast<int>(gpus.size()) : ranks, 1);
  check<ConfigError>(
      transport == GpuTransport::peer || static_cast<std::size_t>(world.ranks_) <= gpus.size(),
      "{} ranks on {} GPUs: NCCL takes one rank a GPU; use fewer ranks or the peer "
      "transport",
      world.ranks_, gpus.size());
  for (std::size_t rank = 0; rank < static_cast<std::size_t>(world.ranks_); ++rank) {
    world.gpus_.push_back(gpus[rank % gpus.size()]);
  }
  world.gpu_transport_ = transport;
  return world;
}

std::string World::device() const {
  if (gpus_.empty()) return "cpu";
  return fmt::format("cuda:{}", fmt::join(std::set(gpus_.begin(), gpus_.end()), ","));
}

int World::gpu_count() { return pcpp::gpus().count(); }

std::string World::gpu_name(int gpu) {
  check_gpus({gpu}, gpu_count());
  return pcpp::gpus().name(gpu);
}

}  // namespace pcpp
