#include "support/fake_nccl.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstring>
#include <map>
#include <memory>
#include <set>
#include <thread>
#include <utility>
#include <vector>

#include "support/fake_cuda.h"

namespace pcpp::testing {
namespace {

// One piece from one rank to another; its two ends meet by their order in the communicators.
struct Piece {
  struct End {
    fake_cuda::MarkerPtr marker;
    fake_cuda::Range range;
  };
  End send;
  End receive;
  bool moved = false;
  bool dead = false;  // one of its ranks has aborted

  bool is_met() const { return send.marker != nullptr && receive.marker != nullptr; }
};

struct Line {  // from one rank to another
  std::vector<std::shared_ptr<Piece>> pieces;
  std::size_t sends = 0;
  std::size_t receives = 0;
};

struct Clique {  // the communicators of one id
  std::map<int, ncclComm*> members;
  std::map<std::pair<int, int>, Line> lines;
};

struct Queued {  // in a group
  bool is_send = false;
  int peer = 0;
  fake_cuda::Range range;
  cudaStream_t stream = nullptr;
};

struct Library {
  bool open = false;
  NcclApi api;
  int ids = 0;
  std::map<int, Clique> cliques;  // by id
  std::vector<std::unique_ptr<ncclComm>> comms;
  std::map<void*, int> memory;
  std::map<std::string, int> calls;
  std::map<std::string, std::pair<ncclResult_t, int>> failures;
  int exchanges = 0;
  int hang_from = -1;
  std::map<int, std::vector<int>> orders;  // by rank
};

Library& library() {
  static Library instance;
  return instance;
}

std::condition_variable aborted;

thread_local int group_depth = 0;
thread_local ncclComm* group_comm = nullptr;

}  // namespace
}  // namespace pcpp::testing

struct ncclComm {
  pcpp::testing::Clique* clique = nullptr;
  int world_size = 0;
  int rank = 0;
  int device = 0;
  int number = 0;  // of those that the rank has joined
  bool aborted = false;
  bool at_work = true;      // until somebody was told that it is ready
  std::thread::id caller;   // whose call it works on
  std::uint32_t polls = 0;  // that are still answered with: in progress
  std::vector<pcpp::testing::Queued> group;
};

namespace pcpp::testing {
namespace {

// One call of the library: holds the lock, and knows what it is to return.
class Call {
 public:
  explicit Call(const char* function) : lock_(fake_cuda::lock()) {
    if (!library().open) fake_cuda::report("a call of NCCL outside of a FakeNccl object's life");
    ++library().calls[function];
    const auto failure = library().failures.find(function);
    if (failure == library().failures.end() || failure->second.second-- > 0) return;
    status_ = failure->second.first;
    library().failures.erase(failure);
  }
  bool failed() const { return status_ != ncclSuccess; }
  // Whether `condition` came to hold, without the lock, before a test would seem to hang.
  template <typename Condition>
  bool wait(std::condition_variable& changed, Condition condition) {
    return changed.wait_for(lock_, std::chrono::seconds(10), condition);
  }
  ncclResult_t status() const { return status_; }
  static ncclResult_t breaks(const std::string& rule) {
    fake_cuda::report("NCCL: " + rule);
    return ncclInvalidUsage;
  }

 private:
  std::unique_lock<std::mutex> lock_;
  ncclResult_t status_ = ncclSuccess;
};

int id_of(const ncclUniqueId& id) {
  int number = 0;
  std::memcpy(&number, id.internal, sizeof number);
  return number;
}

bool is_live(const ncclComm* comm) { return comm != nullptr && !comm->aborted; }

ncclResult_t get_version(int* version) {
  *version = NCCL_VERSION_CODE;
  return ncclSuccess;
}
const char* error_string(ncclResult_t) { return "as the test asked"; }
const char* last_error(ncclComm_t) { return "by the fake NCCL"; }

ncclResult_t get_unique_id(ncclUniqueId* id) {
  Call call("ncclGetUniqueId");
  *id = {};
  std::memcpy(id->internal, &++library().ids, sizeof library().ids);
  return call.status();
}

ncclResult_t init_rank(ncclComm_t* comm, int world_size, ncclUniqueId id, int rank,
                       ncclConfig_t* config) {
  int device = 0;
  cudaGetDevice(&device);
  Call call("ncclCommInitRankConfig");
  if (call.failed()) {  // as NCCL does, with a communicator that is to be aborted
    library().comms.push_back(std::make_unique<ncclComm>());
    *comm = library().comms.back().get();
    return call.status();
  }
  if (config->blocking != 0) return Call::breaks("a communicator that blocks the host");
  if (config->maxCTAs < 2 || config->maxCTAs > 4) return Call::breaks("CTAs are not capped");
  Clique& clique = library().cliques[id_of(id)];
  const auto number = std::ranges::count_if(
      library().comms, [rank](const auto& other) { return other->rank == rank; });
  for (const auto& [other, member] : clique.members) {
    if (other == rank || member->device == device) return Call::breaks("a rank or device twice");
  }
  library().comms.push_back(std::make_unique<ncclComm>());
  *comm = library().comms.back().get();
  **comm = {.clique = &clique,
            .world_size = world_size,
            .rank = rank,
            .device = device,
            .number = static_cast<int>(number),
            .caller = std::this_thread::get_id(),
            .polls = fake_cuda::random() % 4,
            .group = {}};
  clique.members[rank] = *comm;
  return ncclInProgress;
}

void launch(ncclComm& comm) {
  auto pieces = std::make_shared<std::vector<std::shared_ptr<Piece>>>();
  std::vector<Piece::End*> ends;
  fake_cuda::Operation operation;
  operation.kind = fake_cuda::Kind::copy;
  for (const Queued& queued : comm.group) {
    const auto key =
        queued.is_send ? std::pair(comm.rank, queued.peer) : std::pair(queued.peer, comm.rank);
    Line& line = comm.clique->lines[key];
    const std::size_t index = queued.is_send ? line.sends++ : line.receives++;
    if (index == line.pieces.size()) line.pieces.push_back(std::make_shared<Piece>());
    const std::shared_ptr<Piece>& piece = line.pieces[index];
    Piece::End& end = queued.is_send ? piece->send : piece->receive;
    end.range = queued.range;
    ends.push_back(&end);
    pieces->push_back(piece);
    operation.ranges.push_back(queued.range);
  }
  const bool hangs = library().hang_from >= 0 && library().exchanges >= library().hang_from;
  ++library().exchanges;
  operation.ready = [&comm, pieces, hangs] {
    if (comm.aborted) return true;
    if (hangs) return false;
    for (const auto& piece : *pieces) {
      if (piece->dead || !piece->is_met() || !fake_cuda::is_reached(piece->send.marker) ||
          !fake_cuda::is_reached(piece->receive.marker)) {
        return false;
      }
    }
    return true;
  };
  operation.pull = [pieces] {
    for (const auto& piece : *pieces) {
      if (!piece->is_met()) continue;
      fake_cuda::run_up_to(piece->send.marker, false);
      fake_cuda::run_up_to(piece->receive.marker, false);
    }
  };
  operation.run = [&comm, pieces] {
    for (const auto& piece : *pieces) {
      if (comm.aborted) {
        piece->dead = true;
      } else if (!piece->moved) {
        piece->moved = true;
        if (piece->send.range.bytes != piece->receive.range.bytes) {
          fake_cuda::report("NCCL: a rank sends other bytes than its peer receives");
          continue;
        }
        std::memcpy(const_cast<void*>(piece->receive.range.address),  // NOLINT
                    piece->send.range.address, piece->send.range.bytes);
      }
    }
  };
  library().orders[comm.rank].push_back(comm.number);
  const fake_cuda::MarkerPtr marker =
      fake_cuda::enqueue(comm.group.front().stream, std::move(operation));
  for (Piece::End* end : ends) end->marker = marker;
  comm.group.clear();
  fake_cuda::changed();
}

ncclResult_t get_async_error(ncclComm_t comm, ncclResult_t* state) {
  {
    Call asynchronous("asynchronous");
    if (asynchronous.failed()) {
      *state = asynchronous.status();
      return ncclSuccess;
    }
  }
  Call call("ncclCommGetAsyncError");
  if (call.failed()) return call.status();
  if (!is_live(comm)) return Call::breaks("the state of no communicator");
  *state = ncclInProgress;
  if (!comm->at_work) {
    *state = ncclSuccess;
    return ncclSuccess;
  }
  if (comm->caller != std::this_thread::get_id()) return Call::breaks("use from two threads");
  const auto joined = static_cast<int>(comm->clique->members.size());
  if (joined < comm->world_size) return ncclSuccess;
  if (comm->polls > 0) {
    --comm->polls;
    return ncclSuccess;
  }
  if (!comm->group.empty()) launch(*comm);
  comm->at_work = false;
  *state = ncclSuccess;
  return ncclSuccess;
}

bool is_under_way(const ncclComm& comm) {
  if (!is_live(&comm) || comm.clique == nullptr) return false;
  return std::ranges::any_of(comm.clique->lines, [&comm](const auto& line) {
    const auto& [ranks, way] = line;
    return (ranks.first == comm.rank || ranks.second == comm.rank) &&
           std::ranges::any_of(way.pieces, [](const auto& p) { return !p->moved && !p->dead; });
  });
}

// Returns once no kernel of another communicator is under way, as any may hold what this one has
// given to its device.
ncclResult_t comm_abort(ncclComm_t comm) {
  int device = 0;
  cudaGetDevice(&device);
  Call call("ncclCommAbort");
  if (!is_live(comm)) return Call::breaks("a communicator is aborted twice");
  if (is_under_way(*comm) && device != comm->device) {
    return Call::breaks("an abort of what is under way on another device than the present one");
  }
  comm->aborted = true;
  fake_cuda::changed();
  aborted.notify_all();
  const auto waits = [comm](const auto& other) {
    return other.get() != comm && is_under_way(*other);
  };
  const auto others_ended = [&] { return std::ranges::none_of(library().comms, waits); };
  if (!call.wait(aborted, others_ended)) {
    return Call::breaks("an abort waits for a communicator that nobody has told to end");
  }
  return call.status();
}

ncclResult_t group_start() {
  Call call("ncclGroupStart");
  if (call.failed()) return call.status();
  if (group_depth++ > 0) return Call::breaks("a group within a group");
  group_comm = nullptr;
  return ncclSuccess;
}

ncclResult_t queue(const char* function, bool is_send, const void* memory, std::size_t bytes,
                   ncclDataType_t type, int peer, ncclComm_t comm, cudaStream_t stream) {
  Call call(function);
  if (call.failed()) return call.status();
  if (group_depth == 0) return Call::breaks("a piece outside of a group");
  if (!is_live(comm) || comm->at_work) return Call::breaks("use of a communicator still at work");
  if (group_comm != nullptr && group_comm != comm) return Call::breaks("two in one group");
  if (peer < 0 || peer >= comm->world_size || type != ncclUint8 || bytes == 0 ||
      fake_cuda::stream_device(stream) != comm->device) {
    return Call::breaks("a piece that cannot be moved");
  }
  group_comm = comm;
  comm->group.push_back({is_send, peer, {memory, bytes}, stream});
  return ncclSuccess;
}

ncclResult_t send(const void* memory, std::size_t bytes, ncclDataType_t type, int peer,
                  ncclComm_t comm, cudaStream_t stream) {
  return queue("ncclSend", true, memory, bytes, type, peer, comm, stream);
}

ncclResult_t receive(void* memory, std::size_t bytes, ncclDataType_t type, int peer,
                     ncclComm_t comm, cudaStream_t stream) {
  return queue("ncclRecv", false, memory, bytes, type, peer, comm, stream);
}

ncclResult_t group_end() {
  Call call("ncclGroupEnd");
  if (group_depth-- != 1) return Call::breaks("the end of no group");
  ncclComm* comm = std::exchange(group_comm, nullptr);
  if (call.failed() || comm == nullptr) return call.status();
  comm->at_work = true;
  comm->caller = std::this_thread::get_id();
  comm->polls = fake_cuda::random() % 4;
  return ncclInProgress;
}

ncclResult_t mem_alloc(void** memory, std::size_t bytes) {
  {
    Call call("ncclMemAlloc");
    if (call.failed()) return call.status();
  }
  return cudaMalloc(memory, bytes) == cudaSuccess ? ncclSuccess : ncclUnhandledCudaError;
}

ncclResult_t mem_free(void* memory) {
  return cudaFree(memory) == cudaSuccess ? ncclSuccess : ncclUnhandledCudaError;
}

}  // namespace

FakeNccl::FakeNccl() {
  const auto lock = fake_cuda::lock();
  Library& l = library();
  l.open = true;
  l.api = {.get_version = get_version,
           .get_error_string = error_string,
           .get_last_error = last_error,
           .get_unique_id = get_unique_id,
           .comm_init_rank_config = init_rank,
           .comm_abort = comm_abort,
           .comm_get_async_error = get_async_error,
           .group_start = group_start,
           .group_end = group_end,
           .send = send,
           .recv = receive,
           .mem_alloc = mem_alloc,
           .mem_free = mem_free};
}

FakeNccl::~FakeNccl() {
  const auto lock = fake_cuda::lock();
  for (const auto& comm : library().comms) {
    EXPECT_TRUE(comm->aborted) << "a communicator of rank " << comm->rank << " was kept";
  }
  library() = Library();
}

const NcclApi& FakeNccl::api() const { return library().api; }

extern "C" const NcclApi& fake_nccl_api() { return library().api; }

void FakeNccl::fail(const std::string& function, ncclResult_t error, int calls_before) {
  const auto lock = fake_cuda::lock();
  library().failures[function] = {error, calls_before};
}

void FakeNccl::hang(int exchanges_before) {
  const auto lock = fake_cuda::lock();
  library().hang_from = library().exchanges + exchanges_before;
}

std::vector<int> FakeNccl::order(int rank) const {
  const auto lock = fake_cuda::lock();
  return library().orders[rank];
}

int FakeNccl::calls(const std::string& function) const {
  const auto lock = fake_cuda::lock();
  return library().calls[function];
}

}  // namespace pcpp::testing
