// A NCCL between threads, over the fake CUDA runtime: its table of functions in place of the real
// library's.
//
// An exchange runs once both ends have reached it in their streams and moves its bytes as late as
// that; it is put on its stream only when somebody has asked for the communicator's state, and
// some asking gets that it is in progress.
#ifndef PCPP_TESTS_SUPPORT_FAKE_NCCL_H_
#define PCPP_TESTS_SUPPORT_FAKE_NCCL_H_

#include <string>
#include <vector>

#include "parallel/nccl_api.h"

namespace pcpp::testing {

// To be made after the FakeCuda object and to end before it; expects, as a test's failure, that no
// rule of NCCL was broken and that everything was given back. One at a time.
class FakeNccl {
 public:
  FakeNccl();
  ~FakeNccl();
  FakeNccl(const FakeNccl&) = delete;
  FakeNccl& operator=(const FakeNccl&) = delete;

  const NcclApi& api() const;

  // The call of `function` after the next `calls_before` ones returns `error`. The error that
  // "asynchronous" returns is what ncclCommGetAsyncError reports.
  void fail(const std::string& function, ncclResult_t error, int calls_before = 0);
  // Exchanges put on a stream after the next `exchanges_before` ones end only when aborted.
  void hang(int exchanges_before);
  int calls(const std::string& function) const;
  // The lanes of what the rank put on its streams, in this order: a communicator's number among
  // those that the rank has joined.
  std::vector<int> order(int rank) const;
};

// The table of the FakeNccl object that there is, for a library of NCCL's name.
extern "C" const NcclApi& fake_nccl_api();

}  // namespace pcpp::testing

#endif  // PCPP_TESTS_SUPPORT_FAKE_NCCL_H_
