#include "parallel/peer_transport.h"

#include <mutex>
#include <string>

#include "base/check.h"
#include "base/log.h"
#include "parallel/batch_copy.h"

namespace pcpp {

namespace {

// A process has a hub for every run of its ranks.
void warn_once(const std::set<std::pair<int, int>>& staged) {
  static std::mutex mutex;
  static std::set<std::pair<int, int>> told;
  std::string pairs;
  const std::lock_guard lock(mutex);
  for (const auto& [from, to] : staged) {
    if (!told.insert({from, to}).second) continue;
    pairs += fmt::format("{}{} to {}", pairs.empty() ? "" : ", ", from, to);
  }
  if (pairs.empty()) return;
  log().warn("devices without peer access: {}; rows between them go through the host", pairs);
}

DeviceRank::Block make_block(std::size_t bytes) {
  void* memory = nullptr;
  check_cuda(cudaMalloc(&memory, bytes), "cudaMalloc");
  return {static_cast<std::byte*>(memory),
          [](std::byte* data) { log_cuda(cudaFree(data), "cudaFree"); }};
}

}  // namespace

class PeerTransport final : public DeviceTransport {
 public:
  PeerTransport(PeerHub& hub, int rank)
      : DeviceTransport(hub.devices_[static_cast<std::size_t>(rank)],
                        [&]() -> DeviceRank& { return hub.add_rank(rank); }),
        hub_(hub) {}

  int world_size() const override { return hub_.world_size(); }

  ExchangeId prepare(std::int64_t tag, Lane lane, Exchange exchange) override {
    parts_.push_back(&hub_.add_part(device_rank(), tag, lane, exchange));
    return add_exchange(tag, exchange);
  }

  void start(ExchangeId exchange) override {
    PeerHub::Part& mine = part(exchange);
    mine.flight = begin_flight(exchange);
    hub_.start(mine);
  }

 protected:
  std::optional<Flight> order_after(ExchangeId exchange, Deadline deadline) override {
    PeerHub::Part& mine = part(exchange);
    hub_.switchboard_.wait(mine.ends, deadline);
    for (const Switchboard::Channel* channel : mine.ends.receives) {
      device_rank().compute().wait(hub_.part(channel->tag, channel->receive.peer).copied);
    }
    if (!mine.ends.sends.empty()) device_rank().compute().wait(mine.copied);
    return std::exchange(mine.flight, std::nullopt);
  }

  void check_world() override { hub_.switchboard_.check_running(); }

 private:
  PeerHub::Part& part(ExchangeId exchange) {
    return *parts_.at(static_cast<std::size_t>(exchange));
  }

  PeerHub& hub_;
  std::vector<PeerHub::Part*> parts_;
};

PeerHub::PeerHub(std::vector<int> devices, std::chrono::milliseconds timeout)
    : devices_(std::move(devices)), timeout_(timeout), ranks_(devices_.size()) {
  check<ConfigError>(!devices_.empty(), "0 ranks: at least one is needed");
  find_staged();
}

PeerHub::~PeerHub() { PeerHub::finish(); }

bool PeerHub::finish() noexcept { return ranks_.finish(deadline_in(timeout_)); }

void PeerHub::find_staged() {
  const std::set<int> distinct(devices_.begin(), devices_.end());
  for (const int from : distinct) {
    for (const int to : distinct) {
      if (from == to) continue;
      int can = 0;
      check_cuda(cudaDeviceCanAccessPeer(&can, from, to), "cudaDeviceCanAccessPeer");
      if (can != 0) continue;
      staged_.insert({from, to});
    }
  }
  warn_once(staged_);
}

void PeerHub::enable_peer_access(int device) const {
  for (const int to : std::set<int>(devices_.begin(), devices_.end())) {
    if (to == device || staged_.contains({device, to})) continue;
    const cudaError_t status = cudaDeviceEnablePeerAccess(to, 0);
    if (status == cudaErrorPeerAccessAlreadyEnabled) {
      cudaGetLastError();
    } else {
      check_cuda(status, "cudaDeviceEnablePeerAccess");
    }
  }
}

std::unique_ptr<Transport> PeerHub::endpoint(int rank) {
  check<ConfigError>(rank >= 0 && rank < world_size(), "rank {} is not in a world of {}", rank,
                     world_size());
  return std::make_unique<PeerTransport>(*this, rank);
}

void PeerHub::abort(const std::string& reason) { switchboard_.abort(reason); }

DeviceRank& PeerHub::add_rank(int rank) {
  const auto index = static_cast<std::size_t>(rank);
  enable_peer_access(devices_[index]);
  return ranks_.add(
      std::make_unique<DeviceRank>(rank, devices_[index], StreamPriority::normal, make_block));
}

PeerHub::Part& PeerHub::add_part(DeviceRank& device_rank, std::int64_t tag, Lane lane,
                                 const Exchange& exchange) {
  Switchboard::Ends ends = switchboard_.connect(tag, device_rank.rank(), exchange);
  const std::lock_guard lock(mutex_);
  Part& part = parts_[{tag, device_rank.rank()}];
  part.device_rank = &device_rank;
  part.lane = lane;
  part.ends = std::move(ends);
  return part;
}

PeerHub::Part& PeerHub::part(std::int64_t tag, int rank) {
  const std::lock_guard lock(mutex_);
  return parts_.at({tag, rank});
}

void PeerHub::start(Part& part) {
  part.started.record(part.device_rank->compute());
  switchboard_.start(part.ends, [this](Switchboard::Channel& channel) { match(channel); });
}

void PeerHub::match(Switchboard::Channel& channel) {
  Part& sender = part(channel.tag, channel.receive.peer);
  std::vector<const Part*> receivers;
  {
    const std::lock_guard lock(mutex_);
    if (++sender.matched < sender.ends.sends.size()) return;
    sender.matched = 0;
    for (const Switchboard::Channel* send : sender.ends.sends) {
      receivers.push_back(&parts_.at({send->tag, send->send.peer}));
    }
  }
  copy(sender, receivers);
  for (Switchboard::Channel* send : sender.ends.sends) switchboard_.delivered(*send);
}

void PeerHub::copy(const Part& part, const std::vector<const Part*>& receivers) {
  const int from = part.device_rank->device();
  const DeviceGuard guard(from);
  const Stream& lane = part.device_rank->lane(part.lane);
  lane.wait(part.started);
  for (const Part* receiver : receivers) lane.wait(receiver->started);
  BatchCopy between;            // devices
  std::vector<RowCopy> within;  // this device, where the engines are slower than a kernel
  for (std::size_t i = 0; i < receivers.size(); ++i) {
    const Switchboard::Channel& channel = *part.ends.sends[i];
    if (channel.send.bytes == 0) continue;
    const int to = receivers[i]->device_rank->device();
    if (from == to) {
      const auto bytes = static_cast<std::int64_t>(channel.send.bytes);
      within.push_back({channel.receive.address, bytes, channel.send.address, bytes, 1, bytes});
      continue;
    }
    if (!staged_.contains({from, to})) {
      between.add(channel.receive.address, channel.send.address, channel.send.bytes);
      continue;
    }
    check_cuda(cudaMemcpyPeerAsync(channel.receive.address, to, channel.send.address, from,
                                   channel.send.bytes, lane.get()),
               "cudaMemcpyPeerAsync");
  }
  copy_rows(within.data(), within.size(), lane.get());
  between.enqueue(lane);
  if (part.flight) part.flight->delivered.record(lane);
  part.copied.record(lane);
}

}  // namespace pcpp
