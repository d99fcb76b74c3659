// Worlds of the GPU transports over the fake CUDA runtime, under every schedule.
#ifndef PCPP_TESTS_SUPPORT_FAKE_WORLDS_H_
#define PCPP_TESTS_SUPPORT_FAKE_WORLDS_H_

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/cuda.h"
#include "parallel/nccl_transport.h"
#include "parallel/peer_transport.h"
#include "support/fake_cuda.h"
#include "support/fake_nccl.h"
#include "support/transport_worlds.h"

namespace pcpp::testing {

inline void launch(Transport& transport, std::function<void()> function) {
  const auto run = [](void* data) {
    const std::unique_ptr<std::function<void()>> owned(static_cast<std::function<void()>*>(data));
    (*owned)();
  };
  auto owned = std::make_unique<std::function<void()>>(std::move(function));
  check_cuda(cudaLaunchHostFunc(transport.stream(), run, owned.get()), "cudaLaunchHostFunc");
  owned.release();  // NOLINT(bugprone-unused-return-value): the stream owns it
}

// Rank r on device r % devices.
inline std::vector<int> devices_of_ranks(int ranks, int devices) {
  std::vector<int> result;
  for (int rank = 0; rank < ranks; ++rank) result.push_back(rank % devices);
  return result;
}

class PeerWorld final : public TransportWorld {
 public:
  PeerWorld(int ranks, const FakeCudaOptions& options)
      : cuda_(options), hub_(devices_of_ranks(ranks, options.devices), std::chrono::minutes(1)) {}
  Hub& hub() override { return hub_; }
  void compute(Transport& transport, std::function<void()> function) override {
    launch(transport, std::move(function));
  }

 private:
  FakeCuda cuda_;
  PeerHub hub_;
};

class NcclTestWorld final : public TransportWorld {
 public:
  NcclTestWorld(int ranks, const FakeCudaOptions& options)
      : cuda_(options),
        world_(nccl_.api(), devices_of_ranks(ranks, options.devices), std::chrono::minutes(1)),
        hub_(world_) {}
  Hub& hub() override { return hub_; }
  void compute(Transport& transport, std::function<void()> function) override {
    launch(transport, std::move(function));
  }

 private:
  FakeCuda cuda_;
  FakeNccl nccl_;
  NcclWorld world_;
  NcclHub hub_;
};

inline std::vector<std::pair<std::string, FakeCudaOptions>> fake_schedules(int devices) {
  std::vector<std::pair<std::string, FakeCudaOptions>> result = {
      {"eager", {.schedule = Schedule::eager, .devices = devices}},
      {"lazy", {.schedule = Schedule::lazy, .devices = devices}},
      {"early_copies", {.schedule = Schedule::early_copies, .devices = devices}},
      {"late_copies", {.schedule = Schedule::late_copies, .devices = devices}}};
  for (const std::uint32_t seed : {1u, 2u, 3u}) {
    result.push_back({"random_" + std::to_string(seed),
                      {.schedule = Schedule::random, .seed = seed, .devices = devices}});
  }
  return result;
}

template <typename World>
TransportCase fake_case(const std::string& name, const FakeCudaOptions& options) {
  return {name, [options](int ranks) { return std::make_unique<World>(ranks, options); }};
}

// All ranks on one device, one each, and devices without peer access.
inline std::vector<TransportCase> peer_cases() {
  std::vector<TransportCase> cases;
  for (const int devices : {1, 8}) {
    for (const auto& [name, options] : fake_schedules(devices)) {
      cases.push_back(
          fake_case<PeerWorld>("peer_" + std::to_string(devices) + "_" + name, options));
    }
  }
  cases.push_back(fake_case<PeerWorld>(
      "peer_staged", {.schedule = Schedule::lazy, .devices = 2, .peer_access = false}));
  return cases;
}

inline std::vector<TransportCase> nccl_cases() {
  std::vector<TransportCase> cases;
  for (const auto& [name, options] : fake_schedules(8)) {
    cases.push_back(fake_case<NcclTestWorld>("nccl_" + name, options));
  }
  return cases;
}

}  // namespace pcpp::testing

#endif  // PCPP_TESTS_SUPPORT_FAKE_WORLDS_H_
