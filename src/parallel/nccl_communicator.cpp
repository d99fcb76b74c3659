#include "parallel/nccl_communicator.h"

#include <utility>

#include "base/check.h"
#include "base/log.h"

namespace pcpp {

namespace {
// Enough for a link's bandwidth, and few enough that waiting for a late peer leaves the device to
// the computation.
constexpr int kMaxCtas = 4;
}  // namespace

NcclCommunicator::NcclCommunicator(const NcclApi& api, const ncclUniqueId& id, int world_size,
                                   int rank)
    : api_(api) {
  ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
  config.blocking = 0;
  config.maxCTAs = kMaxCtas;
  try {
    check(api_.comm_init_rank_config(&comm_, world_size, id, rank, &config),
          "ncclCommInitRankConfig");
  } catch (...) {
    abort();  // NCCL may have made one before the error
    throw;
  }
}

NcclCommunicator::~NcclCommunicator() { abort(); }

void NcclCommunicator::abort() noexcept {
  const std::lock_guard lock(mutex_);
  if (comm_ == nullptr) return;
  const ncclResult_t status = api_.comm_abort(std::exchange(comm_, nullptr));
  if (status != ncclSuccess && status != ncclInProgress) {
    log().error("ncclCommAbort failed: {}", api_.get_error_string(status));
  }
}

void NcclCommunicator::check(ncclResult_t status, const char* call) const {
  if (status == ncclSuccess || status == ncclInProgress) return;
  fail<TransportError>("{} failed: {} ({}): the next request joins the ranks anew", call,
                       api_.get_error_string(status), api_.get_last_error(comm_));
}

void NcclCommunicator::check_alive() const {
  pcpp::check<TransportError>(
      comm_ != nullptr, "the communicator was aborted: the next request joins the ranks anew");
}

bool NcclCommunicator::is_ready() const {
  const std::lock_guard lock(mutex_);
  check_alive();
  ncclResult_t state = ncclSuccess;
  check(api_.comm_get_async_error(comm_, &state), "ncclCommGetAsyncError");
  check(state, "a call of NCCL");
  return state == ncclSuccess;
}

void NcclCommunicator::exchange(const Exchange& exchange, cudaStream_t stream) {
  const std::lock_guard lock(mutex_);
  check_alive();
  check(api_.group_start(), "ncclGroupStart");
  ncclResult_t added = ncclSuccess;
  const auto may_add = [&added](std::size_t bytes) {
    return bytes > 0 && (added == ncclSuccess || added == ncclInProgress);
  };
  for (const SendPiece& piece : exchange.sends) {
    if (!may_add(piece.bytes)) continue;
    added = api_.send(piece.address, piece.bytes, ncclUint8, piece.peer, comm_, stream);
  }
  for (const ReceivePiece& piece : exchange.receives) {
    if (!may_add(piece.bytes)) continue;
    added = api_.recv(piece.address, piece.bytes, ncclUint8, piece.peer, comm_, stream);
  }
  const ncclResult_t ended = api_.group_end();  // in any case, or the thread stays in the group
  check(added, "ncclSend or ncclRecv");
  check(ended, "ncclGroupEnd");
}

}  // namespace pcpp
