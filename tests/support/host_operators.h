// libtorch's operators on CUDA tensors for the fake CUDA runtime, whose memory is the host's: each
// is put on the present stream as libtorch's function for CPUs over the same memory, which it reads
// and writes when the stream comes to it, whatever has become of the tensors by then.
//
// Operators that are not in the list (host_operators.cpp) go to libtorch's kernels, which break a
// rule (kernel_of_libtorch() in fake_cuda_libtorch.cpp).
#ifndef PCPP_TESTS_SUPPORT_HOST_OPERATORS_H_
#define PCPP_TESTS_SUPPORT_HOST_OPERATORS_H_

namespace pcpp::testing {

// In place of libtorch's for as long as the process runs.
void use_host_operators();

// How often streams were occupied (libtorch's sleep), for no time here.
int occupations();

// Whether cuDNN's attention fails, as where it finds no library to compile its kernels with.
void let_cudnn_attention_fail(bool fails);

}  // namespace pcpp::testing

#endif  // PCPP_TESTS_SUPPORT_HOST_OPERATORS_H_
