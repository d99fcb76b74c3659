#include "parallel/nccl_transport.h"

#include <algorithm>
#include <deque>
#include <exception>
#include <map>
#include <system_error>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include "base/check.h"
#include "base/cuda.h"
#include "base/log.h"
#include "parallel/device_transport.h"

namespace pcpp {

namespace {

std::size_t index_of(Lane lane) { return lane == Lane::stale ? 0 : 1; }

// Memory that NCCL can map for copies between devices. It is not registered with the communicators,
// so that these copy by way of their own buffers.
DeviceRank::MakeBlock block_maker(const NcclApi& api) {
  return [&api](std::size_t bytes) {
    void* memory = nullptr;
    const ncclResult_t status = api.mem_alloc(&memory, bytes);
    check<DeviceError>(status == ncclSuccess, "ncclMemAlloc of {} bytes failed: {}: {}", bytes,
                       api.get_error_string(status), remedy_for(cudaErrorMemoryAllocation));
    return DeviceRank::Block(static_cast<std::byte*>(memory), [&api](std::byte* data) {
      const ncclResult_t freed = api.mem_free(data);
      if (freed != ncclSuccess) log().error("ncclMemFree failed: {}", api.get_error_string(freed));
    });
  };
}

}  // namespace

class NcclTransport final : public DeviceTransport {
 public:
  NcclTransport(NcclHub& hub, int rank)
      : DeviceTransport(hub.world_.devices_[static_cast<std::size_t>(rank)],
                        [&]() -> DeviceRank& { return hub.add_rank(rank); }),
        hub_(hub),
        communicators_(hub.world_.communicators_[static_cast<std::size_t>(rank)]) {
    join();
  }

  // What is still under way may never end: then the communicators do.
  ~NcclTransport() override {
    if (!idle_) hub_.world_.abort();
  }

  int world_size() const override { return hub_.world_size(); }

  ExchangeId prepare(std::int64_t tag, Lane lane, Exchange exchange) override {
    const ExchangeId id = add_exchange(tag, exchange);
    Switchboard::Ends ends = hub_.switchboard_.connect(tag, rank(), exchange);
    parts_.push_back({lane, std::move(exchange), std::move(ends), Event(), Event(), {}});
    return id;
  }

  void start(ExchangeId exchange) override {
    Part& part = parts_.at(static_cast<std::size_t>(exchange));
    if (part.exchange.sends.empty() && part.exchange.receives.empty()) return;
    part.flight = begin_flight(exchange);  // ahead of what the lane waits for
    part.started.record(device_rank().compute());
    idle_ = false;
    part.is_launched = false;
    waiting_.push_back(&part);
    hub_.switchboard_.start(
        part.ends, [this](Switchboard::Channel& channel) { hub_.switchboard_.delivered(channel); });
    check_world();
  }

  void flush(Deadline deadline) override {
    for (const Part& part : parts_) finish_launch(part, deadline);
  }

  void drain(Deadline deadline) override {
    flush(deadline);
    for (const Part& part : parts_) device_rank().compute().wait(part.done);
    DeviceTransport::drain(deadline);
    idle_ = true;
  }

 protected:
  std::optional<Flight> order_after(ExchangeId exchange, Deadline deadline) override {
    Part& part = parts_.at(static_cast<std::size_t>(exchange));
    finish_launch(part, deadline);
    device_rank().compute().wait(part.done);
    return std::exchange(part.flight, std::nullopt);
  }

  void check_world() override {
    hub_.switchboard_.check_running();
    explained([this] { advance(); });
  }

 private:
  struct Part {
    Lane lane;
    Exchange exchange;
    Switchboard::Ends ends;
    Event started;  // on the compute stream: packed what is sent, read what is received over
    Event done;     // on the lane: all pieces have been delivered
    std::optional<Flight> flight;
    bool is_launched = true;  // what was started is on the lane, and `done` after it
  };
  // The hub tells why it ends before it aborts the communicators, which only know that they were.
  template <typename Function>
  std::invoke_result_t<Function> explained(const Function& function) {
    try {
      return function();
    } catch (const TransportError&) {
      hub_.switchboard_.check_running();
      throw;
    }
  }

  Deadline own_deadline() const { return deadline_in(hub_.world_.timeout_); }

  void join() {
    const auto missing = [](const auto& communicator) { return communicator == nullptr; };
    if (std::none_of(communicators_.begin(), communicators_.end(), missing)) return;
    const Deadline deadline = own_deadline();
    for (std::size_t lane = 0; lane < communicators_.size(); ++lane) {
      {
        const std::lock_guard lock(hub_.world_.mutex_);
        communicators_[lane] = std::make_unique<NcclCommunicator>(
            hub_.world_.api_, hub_.world_.ids_[lane], world_size(), rank());
      }
      const auto is_ready = [&] { return communicators_[lane]->is_ready(); };
      while (!explained(is_ready)) pause(deadline, "the other ranks to join");
    }
  }

  // Gives NCCL what can be given, without waiting. Its kernels hold the device until every peer's
  // do, and meanwhile an allocation may hold a peer's thread: so an exchange is launched once all
  // its peers have started it. One queue serves both lanes: kernels of two communicators may come
  // to wait for each other unless all ranks launch them in one order (NCCL's user guide, "Using
  // multiple NCCL communicators concurrently"), and the order of start() is the same everywhere.
  //
  // NCCL puts an exchange on its stream in a thread of its own: only after that may the stream's
  // event be recorded, and the communicator take the next exchange.
  void advance() {
    while (are_ready()) {
      if (Part* part = std::exchange(launching_, nullptr)) {
        const Stream& lane = device_rank().lane(part->lane);
        if (part->flight) part->flight->delivered.record(lane);
        part->done.record(lane);
        part->is_launched = true;
      }
      if (waiting_.empty()) return;
      Part& next = *waiting_.front();
      if (!hub_.switchboard_.is_delivered(next.ends)) return;
      waiting_.pop_front();
      launching_ = &next;
      const Stream& lane = device_rank().lane(next.lane);
      lane.wait(next.started);
      communicators_[index_of(next.lane)]->exchange(next.exchange, lane.get());
    }
  }

  // Both are asked, for errors that peers caused.
  bool are_ready() const {
    return std::ranges::all_of(communicators_, [](const auto& communicator) {
      return communicator && communicator->is_ready();
    });
  }

  void finish_launch(const Part& part, Deadline deadline) {
    while (!part.is_launched) pause(deadline, "NCCL, or for a peer to start the same exchange,");
  }

  NcclHub& hub_;
  NcclWorld::Lanes& communicators_;
  std::deque<Part> parts_;
  std::deque<Part*> waiting_;  // started, in order
  Part* launching_ = nullptr;  // given to NCCL
  bool idle_ = true;           // nothing is under way
};

NcclWorld::NcclWorld(const NcclApi& api, std::vector<int> devices,
                     std::chrono::milliseconds timeout)
    : api_(api), devices_(std::move(devices)), timeout_(timeout), communicators_(devices_.size()) {
  check<ConfigError>(!devices_.empty(), "0 ranks: at least one is needed");
  std::map<int, int> rank_on;
  for (int rank = 0; rank < static_cast<int>(devices_.size()); ++rank) {
    const int device = devices_[static_cast<std::size_t>(rank)];
    const auto [other, alone] = rank_on.insert({device, rank});
    check<ConfigError>(alone,
                       "ranks {} and {} share device {}, and NCCL takes one rank a device: use "
                       "fewer ranks or the peer transport",
                       other->second, rank, device);
  }
}

NcclWorld::~NcclWorld() = default;

void NcclWorld::begin_request() {
  if (!broken_) return;
  for (Lanes& lanes : communicators_) {
    for (auto& communicator : lanes) communicator.reset();
  }
  for (ncclUniqueId& id : ids_) {
    const ncclResult_t status = api_.get_unique_id(&id);
    check<TransportError>(status == ncclSuccess, "ncclGetUniqueId failed: {}",
                          api_.get_error_string(status));
  }
  broken_ = false;
}

void NcclWorld::abort() {
  broken_ = true;
  const std::lock_guard lock(mutex_);
  // Each tells its kernels to end, and waits for the thread by which NCCL launches and for its
  // device, in a group as well. A kernel of another communicator may hold these: all are to be told
  // before any is waited for.
  std::vector<std::jthread> aborts;
  auto device_of_rank = devices_.begin();
  for (Lanes& lanes : communicators_) {
    const int device = *device_of_rank++;
    for (auto& communicator : lanes) {
      if (!communicator) continue;
      const auto abort = [&communicator, device] {
        log_cuda(cudaSetDevice(device), "cudaSetDevice");
        communicator->abort();
      };
      try {
        aborts.emplace_back(abort);
      } catch (const std::system_error&) {  // the system has no more threads
        abort();
      }
    }
  }
}

NcclHub::NcclHub(NcclWorld& world) : world_(world), ranks_(world.devices_.size()) {
  world_.begin_request();
}

NcclHub::~NcclHub() { NcclHub::finish(); }

bool NcclHub::finish() noexcept { return ranks_.finish(deadline_in(world_.timeout_)); }

std::unique_ptr<Transport> NcclHub::endpoint(int rank) {
  check<ConfigError>(rank >= 0 && rank < world_size(), "rank {} is not in a world of {}", rank,
                     world_size());
  return std::make_unique<NcclTransport>(*this, rank);
}

DeviceRank& NcclHub::add_rank(int rank) {
  const auto index = static_cast<std::size_t>(rank);
  return ranks_.add(std::make_unique<DeviceRank>(rank, world_.devices_[index], StreamPriority::high,
                                                 block_maker(world_.api_)));
}

void NcclHub::abort(const std::string& reason) {
  switchboard_.abort(reason);
  world_.abort();
}

}  // namespace pcpp
