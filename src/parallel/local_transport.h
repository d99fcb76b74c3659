// The transport between ranks that are threads of one process and share its memory.
#ifndef PCPP_PARALLEL_LOCAL_TRANSPORT_H_
#define PCPP_PARALLEL_LOCAL_TRANSPORT_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "parallel/switchboard.h"
#include "parallel/transport.h"

namespace pcpp {

// One matched piece on its way.
struct Transfer {
  std::int64_t tag = 0;
  int from = 0;
  int to = 0;
  std::size_t bytes = 0;
};

// Decides when matched pieces are delivered: for links that are slower than memory, and for tests.
// Thread-safe.
class Courier {
 public:
  // Copies one piece and wakes who waits for it.
  using Delivery = std::function<void()>;

  virtual ~Courier();
  // Runs `delivery` once, on any thread, now or later. From one rank to another at most one of a
  // tag is under way.
  virtual void carry(const Transfer& transfer, Delivery delivery) = 0;
  // Forgets every delivery that has not begun and returns when none is running. The hub calls it
  // when it goes: deliveries write to its memory.
  virtual void drop() = 0;
};

// A piece whose two ends have both started is copied within the process's memory. A rank's stream
// is its thread.
class LocalHub final : public Hub {
 public:
  // Without a courier, pieces are delivered at once by the thread that starts the later end. A
  // courier must outlive the hub and serve no other hub at the same time.
  explicit LocalHub(int world_size, Courier* courier = nullptr);
  ~LocalHub() override;

  int world_size() const override { return world_size_; }
  std::unique_ptr<Transport> endpoint(int rank) override;
  void abort(const std::string& reason) override;
  void stop() override { switchboard_.stop(); }

  // Memory that lives as long as the hub.
  std::byte* allocate(std::size_t bytes);

 private:
  friend class LocalTransport;

  void start(Switchboard::Ends& ends);

  const int world_size_;
  Courier* const courier_;
  Switchboard switchboard_;
  std::mutex mutex_;
  std::vector<std::unique_ptr<std::byte, void (*)(void*)>> memory_;
};

}  // namespace pcpp

#endif  // PCPP_PARALLEL_LOCAL_TRANSPORT_H_
