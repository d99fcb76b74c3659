// The fake CUDA runtime of a test program that runs libtorch's CUDA half over it.
#ifndef PCPP_TESTS_SUPPORT_FAKE_GPUS_H_
#define PCPP_TESTS_SUPPORT_FAKE_GPUS_H_

#include "support/fake_cuda.h"

namespace pcpp::testing {

// Of the whole process, as libtorch keeps what it has learnt of its devices.
FakeCuda& fake_gpus();

}  // namespace pcpp::testing

#endif  // PCPP_TESTS_SUPPORT_FAKE_GPUS_H_
