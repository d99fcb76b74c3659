#include "parallel/nccl_api.h"

#include <dlfcn.h>

#include "base/check.h"

namespace pcpp {

namespace {

constexpr const char* kLibrary = "libnccl.so.2";

template <typename Function>
void load(void* library, const char* name, Function& function) {
  function = reinterpret_cast<Function>(dlsym(library, name));  // NOLINT: what dlsym is for
  check<TransportError>(function != nullptr, "{} has no {}: install NCCL {}.{} or newer", kLibrary,
                        name, NCCL_MAJOR, NCCL_MINOR);
}

NcclApi load_all() {
  void* library = dlopen(kLibrary, RTLD_NOW | RTLD_LOCAL);
  check<TransportError>(library != nullptr,
                        "NCCL cannot be loaded ({}): install it, or use the peer transport",
                        library == nullptr ? dlerror() : "");
  NcclApi api;
  load(library, "ncclGetVersion", api.get_version);
  int version = 0;
  api.get_version(&version);
  check<TransportError>(version >= NCCL_VERSION_CODE,
                        "NCCL's version is {} where {} or newer is needed: install that, or use "
                        "the peer transport",
                        version, NCCL_VERSION_CODE);
  load(library, "ncclGetErrorString", api.get_error_string);
  load(library, "ncclGetLastError", api.get_last_error);
  load(library, "ncclGetUniqueId", api.get_unique_id);
  load(library, "ncclCommInitRankConfig", api.comm_init_rank_config);
  load(library, "ncclCommAbort", api.comm_abort);
  load(library, "ncclCommGetAsyncError", api.comm_get_async_error);
  load(library, "ncclGroupStart", api.group_start);
  load(library, "ncclGroupEnd", api.group_end);
  load(library, "ncclSend", api.send);
  load(library, "ncclRecv", api.recv);
  load(library, "ncclMemAlloc", api.mem_alloc);
  load(library, "ncclMemFree", api.mem_free);
  return api;
}

}  // namespace

const NcclApi& nccl_api() {
  static const NcclApi api = load_all();
  return api;
}

}  // namespace pcpp
