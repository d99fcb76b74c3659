// A library of NCCL's name for programs that look for it by that: what it has is the fake's.
#include "parallel/nccl_api.h"

extern "C" const pcpp::NcclApi& fake_nccl_api();  // the program's

// NOLINTBEGIN(readability-identifier-naming): NCCL's names
extern "C" {

ncclResult_t ncclGetVersion(int* version) { return fake_nccl_api().get_version(version); }
const char* ncclGetErrorString(ncclResult_t result) {
  return fake_nccl_api().get_error_string(result);
}
const char* ncclGetLastError(ncclComm_t comm) { return fake_nccl_api().get_last_error(comm); }
ncclResult_t ncclGetUniqueId(ncclUniqueId* id) { return fake_nccl_api().get_unique_id(id); }
ncclResult_t ncclCommInitRankConfig(ncclComm_t* comm, int ranks, ncclUniqueId id, int rank,
                                    ncclConfig_t* config) {
  return fake_nccl_api().comm_init_rank_config(comm, ranks, id, rank, config);
}
ncclResult_t ncclCommAbort(ncclComm_t comm) { return fake_nccl_api().comm_abort(comm); }
ncclResult_t ncclCommGetAsyncError(ncclComm_t comm, ncclResult_t* error) {
  return fake_nccl_api().comm_get_async_error(comm, error);
}
ncclResult_t ncclGroupStart() { return fake_nccl_api().group_start(); }
ncclResult_t ncclGroupEnd() { return fake_nccl_api().group_end(); }
ncclResult_t ncclSend(const void* memory, size_t count, ncclDataType_t type, int peer,
                      ncclComm_t comm, cudaStream_t stream) {
  return fake_nccl_api().send(memory, count, type, peer, comm, stream);
}
ncclResult_t ncclRecv(void* memory, size_t count, ncclDataType_t type, int peer, ncclComm_t comm,
                      cudaStream_t stream) {
  return fake_nccl_api().recv(memory, count, type, peer, comm, stream);
}
ncclResult_t ncclMemAlloc(void** memory, size_t bytes) {
  return fake_nccl_api().mem_alloc(memory, bytes);
}
ncclResult_t ncclMemFree(void* memory) { return fake_nccl_api().mem_free(memory); }

}  // extern "C"
// NOLINTEND(readability-identifier-naming)
