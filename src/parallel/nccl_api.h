// The functions of NCCL that the library calls, as one table: NCCL is loaded when it is first asked
// for, so that the library runs where there is none, and tests put a fake in its place.
#ifndef PCPP_PARALLEL_NCCL_API_H_
#define PCPP_PARALLEL_NCCL_API_H_

#include <nccl.h>

namespace pcpp {

struct NcclApi {
  decltype(&ncclGetVersion) get_version = nullptr;
  decltype(&ncclGetErrorString) get_error_string = nullptr;
  decltype(&ncclGetLastError) get_last_error = nullptr;
  decltype(&ncclGetUniqueId) get_unique_id = nullptr;
  decltype(&ncclCommInitRankConfig) comm_init_rank_config = nullptr;
  decltype(&ncclCommAbort) comm_abort = nullptr;
  decltype(&ncclCommGetAsyncError) comm_get_async_error = nullptr;
  decltype(&ncclGroupStart) group_start = nullptr;
  decltype(&ncclGroupEnd) group_end = nullptr;
  decltype(&ncclSend) send = nullptr;
  decltype(&ncclRecv) recv = nullptr;
  decltype(&ncclMemAlloc) mem_alloc = nullptr;
  decltype(&ncclMemFree) mem_free = nullptr;
};

// The installed NCCL, loaded by the first call and kept. Throws TransportError where there is none
// or one older than the headers that the library was built with. Thread-safe.
const NcclApi& nccl_api();

}  // namespace pcpp

#endif  // PCPP_PARALLEL_NCCL_API_H_
