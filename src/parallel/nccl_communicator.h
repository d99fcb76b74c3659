// One rank's end of a NCCL communicator that never blocks the host.
#ifndef PCPP_PARALLEL_NCCL_COMMUNICATOR_H_
#define PCPP_PARALLEL_NCCL_COMMUNICATOR_H_

#include <cuda_runtime_api.h>

#include <mutex>

#include "parallel/nccl_api.h"
#include "parallel/transport.h"

namespace pcpp {

// Every call returns at once and may leave NCCL at work behind it: until is_ready() has said that
// it is done, the communicator takes no other call, and what it puts on a stream is not there yet.
// Used by one thread at a time, but for abort(), which going calls too.
class NcclCommunicator {
 public:
  // Begins to join the ranks that give the same id; the rank's device is present.
  NcclCommunicator(const NcclApi& api, const ncclUniqueId& id, int world_size, int rank);
  ~NcclCommunicator();
  NcclCommunicator(const NcclCommunicator&) = delete;
  NcclCommunicator& operator=(const NcclCommunicator&) = delete;

  // Throws TransportError where NCCL reports an error, its own or one that a peer caused.
  bool is_ready() const;

  // All pieces in one group, so that none of them waits for another; empty ones are left out on
  // both sides. Peers call exchange() for the same exchanges in the same order.
  void exchange(const Exchange& exchange, cudaStream_t stream);

  // Ends what is still under way on the rank's device, whatever the other ranks do; every later
  // call throws TransportError. Thread-safe.
  void abort() noexcept;

 private:
  void check(ncclResult_t status, const char* call) const;
  void check_alive() const;

  const NcclApi& api_;
  mutable std::mutex mutex_;   // of what follows: NCCL allows no call beside its abort
  ncclComm_t comm_ = nullptr;  // null: aborted
};

}  // namespace pcpp

#endif  // PCPP_PARALLEL_NCCL_COMMUNICATOR_H_
