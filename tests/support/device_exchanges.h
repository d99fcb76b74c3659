// Exchanges over memory that only the CUDA runtime's calls touch: for GPUs, and for the fake.
#ifndef PCPP_TESTS_SUPPORT_DEVICE_EXCHANGES_H_
#define PCPP_TESTS_SUPPORT_DEVICE_EXCHANGES_H_

#include <cuda_runtime_api.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "base/cuda.h"
#include "base/deadline.h"
#include "kernels/copy_rows.h"
#include "parallel/batch_copy.h"
#include "parallel/rank_group.h"
#include "parallel/transport.h"

namespace pcpp::testing {

constexpr auto kExchangeTimeout = std::chrono::minutes(1);

// What `bytes` bytes of device memory hold, once the present device has done all that touches them.
inline std::vector<std::byte> read_device(const std::byte* memory, std::size_t bytes) {
  std::vector<std::byte> values(bytes);
  check_cuda(cudaMemcpy(values.data(), memory, bytes, cudaMemcpyDeviceToHost), "cudaMemcpy");
  return values;
}

inline void set_device_bytes(std::byte* memory, int value, std::size_t bytes, cudaStream_t stream) {
  check_cuda(cudaMemsetAsync(memory, value, bytes, stream), "cudaMemsetAsync");
}

// What rank `sender` sends in this round.
inline int ring_value(int sender, int round) { return 1 + (37 * sender + round) % 200; }

// One rank of a ring: each sends to the next, the last to the first and a lone one to itself. Of
// two buffers on the lane for stale rows one is read while the other is filled; the gather's is
// waited for at once.
inline void exchange_in_ring(Transport& transport, int rounds, std::size_t bytes) {
  const int next = (transport.rank() + 1) % transport.world_size();
  const int previous = (transport.rank() + transport.world_size() - 1) % transport.world_size();
  const auto kept = static_cast<std::size_t>(rounds) * bytes;
  struct Way {
    std::byte* out = nullptr;
    std::byte* in = nullptr;
    ExchangeId exchange = -1;
  };
  const auto prepare = [&](std::int64_t tag, Lane lane) {
    Way way{transport.allocate(bytes), transport.allocate(bytes)};
    way.exchange =
        transport.prepare(tag, lane, {{{next, way.out, bytes}}, {{previous, way.in, bytes}}});
    return way;
  };
  const std::array<Way, 2> stale = {prepare(0, Lane::stale), prepare(1, Lane::stale)};
  const Way gather = prepare(2, Lane::gather);
  std::byte* stale_log = transport.allocate(kept);
  std::byte* gather_log = transport.allocate(kept);
  const auto keep = [&](const Way& way, std::byte* log, int round) {
    const auto row = static_cast<std::int64_t>(bytes);
    const RowCopy copy{log + round * row, row, way.in, row, 1, row};
    transport.copy_rows({&copy, 1});
  };
  const auto wait = [&](const Way& way) {
    transport.wait(way.exchange, deadline_in(kExchangeTimeout));
  };
  for (int round = 0; round < rounds; ++round) {
    const auto now = static_cast<std::size_t>(round % 2);
    if (round > 0) {
      wait(stale[1 - now]);
      keep(stale[1 - now], stale_log, round - 1);
    }
    for (const Way* way : {&stale[now], &gather}) {
      set_device_bytes(way->out, ring_value(transport.rank(), round), bytes, transport.stream());
      transport.start(way->exchange);
    }
    wait(gather);
    keep(gather, gather_log, round);
  }
  const Way& last = stale[static_cast<std::size_t>((rounds - 1) % 2)];
  wait(last);
  keep(last, stale_log, rounds - 1);
  transport.drain(deadline_in(kExchangeTimeout));
  for (const std::byte* log : {stale_log, gather_log}) {
    const std::vector<std::byte> values = read_device(log, kept);
    for (std::size_t i = 0; i < kept; ++i) {
      const int round = static_cast<int>(i / bytes);
      ASSERT_EQ(static_cast<int>(values[i]), ring_value(previous, round))
          << "rank " << transport.rank() << ", round " << round << ", byte " << i % bytes;
    }
  }
}

inline void exchange_in_ring(Hub& hub, int rounds = 12, std::size_t bytes = 1000) {
  run_ranks(hub, [&](Transport& transport) { exchange_in_ring(transport, rounds, bytes); });
}

// Within the present device, which must be a thread's own.
inline void copy_in_batches() {
  constexpr std::size_t kBytes = 1 << 20;
  const Stream stream;
  const auto free = [](void* memory) { log_cuda(cudaFree(memory), "cudaFree"); };
  const auto allocate = [&free](std::size_t bytes) {
    void* memory = nullptr;
    check_cuda(cudaMalloc(&memory, bytes), "cudaMalloc");
    return std::unique_ptr<void, decltype(free)>(memory, free);
  };
  const auto source_memory = allocate(kBytes);
  const auto target_memory = allocate(kBytes);
  auto* source = static_cast<std::byte*>(source_memory.get());
  auto* target = static_cast<std::byte*>(target_memory.get());
  set_device_bytes(source, 1, kBytes / 2, stream.get());
  set_device_bytes(source + kBytes / 2, 2, kBytes / 2, stream.get());
  set_device_bytes(target, 3, kBytes, stream.get());
  BatchCopy copies;
  copies.enqueue(stream);
  copies.add(target + 16, source + kBytes / 2, kBytes / 4);
  copies.add(target + kBytes / 2 + 3, source + 1, 5);
  copies.add(target + kBytes - 1, source, 1);
  copies.enqueue(stream);
  stream.synchronize();
  const std::vector<std::byte> values = read_device(target, kBytes);
  const auto count = [&values](int value) {
    return std::count(values.begin(), values.end(), static_cast<std::byte>(value));
  };
  EXPECT_EQ(count(2), std::ptrdiff_t{kBytes / 4});
  EXPECT_EQ(count(1), 6);
  for (const std::size_t first : {std::size_t{16}, kBytes / 4 + 15}) {
    EXPECT_EQ(static_cast<int>(values[first]), 2);
  }
  EXPECT_EQ(static_cast<int>(values[kBytes / 2 + 7]), 1);
  EXPECT_EQ(static_cast<int>(values[kBytes / 2 + 8]), 3);
  EXPECT_EQ(static_cast<int>(values[kBytes - 1]), 1);
}

}  // namespace pcpp::testing

#endif  // PCPP_TESTS_SUPPORT_DEVICE_EXCHANGES_H_
