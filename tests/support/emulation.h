// Runs a CUDA kernel's threads on a CPU: those of a block are fibers of the calling thread, each of
// which runs until it must wait for others. Blocks, and the threads that can run, are taken in a
// random order, so that a result that depends on an order shows as a wrong one.
//
// What a GPU leaves undefined fails here: a thread that ends, or waits elsewhere, while others wait
// at a __syncthreads; a shuffle that not all the lanes that it names have come to. Only __shared__
// memory of a fixed size, which keeps the values of the block before.
#ifndef PCPP_TESTS_SUPPORT_EMULATION_H_
#define PCPP_TESTS_SUPPORT_EMULATION_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <source_location>
#include <stdexcept>

namespace pcpp::emulation {

// CUDA's dim3 and uint3.
struct Extent {
  constexpr Extent(unsigned x_count = 1, unsigned y_count = 1, unsigned z_count = 1)
      : x(x_count), y(y_count), z(z_count) {}
  unsigned x;
  unsigned y;
  unsigned z;
};

// Of the thread that runs.
extern Extent gridDim;
extern Extent blockDim;
extern Extent blockIdx;
extern Extent threadIdx;

// A kernel that no GPU is bound to run to its end.
class Divergence : public std::logic_error {
 public:
  using std::logic_error::logic_error;
};

// The order of the launches that follow; each launch goes on from where the last one left it.
void seed_order(std::uint32_t seed);

// Calls thread() once for each thread of the grid; false, and no call, where a GPU refuses such
// extents. Throws Divergence. Not to be called from a kernel, nor by two threads at once.
bool run(Extent grid, Extent block, const std::function<void()>& thread);

// Where it is not empty, it is told of each launch of this thread, once that is done, and may call
// it again.
extern thread_local std::function<void(std::function<void()>)> on_launch;

// What a kernel's threads wait for each other with; `place` tells one such call from another.
using Payload = std::array<std::byte, 8>;
void wait_for_block(const std::source_location& place);
Payload shuffle_xor(std::uint32_t lanes, const Payload& value, unsigned distance,
                    const std::source_location& place);

}  // namespace pcpp::emulation

#endif  // PCPP_TESTS_SUPPORT_EMULATION_H_
