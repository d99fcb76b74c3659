// The transport between ranks that are threads of one process and share its memory.
#ifndef PCPP_PARALLEL_LOCAL_TRANSPORT_H_
#define PCPP_PARALLEL_LOCAL_TRANSPORT_H_

#include <condition_variable>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <tuple>
#include <vector>

#include "parallel/transport.h"

namespace pcpp {

// One matched piece on its way.
struct Transfer {
  const void* channel = nullptr;  // tells tag and direction apart
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
  // Runs `delivery` once, on any thread, now or later. A channel has at most one under way.
  virtual void carry(const Transfer& transfer, Delivery delivery) = 0;
  // A rank begins to wait for a piece of `channel`, which may not have been given to carry() yet.
  virtual void awaited(const void* /*channel*/) {}
  // Forgets every delivery that has not begun and returns when none is running. The hub calls it
  // when it goes: deliveries write to its memory.
  virtual void drop() = 0;
};

// Where the ranks' pieces meet: a piece whose two ends have both started is delivered. Thread-safe.
// Create one for each request; it outlives the endpoints.
class LocalHub {
 public:
  // Without a courier, pieces are delivered at once by the thread that starts the later end. A
  // courier must outlive the hub and serve no other hub at the same time.
  explicit LocalHub(int world_size, Courier* courier = nullptr);
  ~LocalHub();
  LocalHub(const LocalHub&) = delete;
  LocalHub& operator=(const LocalHub&) = delete;

  int world_size() const { return world_size_; }
  std::unique_ptr<Transport> endpoint(int rank);

  // Memory that lives as long as the hub.
  std::byte* allocate(std::size_t bytes);

  // Makes every present and later wait throw TransportError with this text. The first call counts.
  void abort(const std::string& reason);

 private:
  friend class LocalTransport;

  // One direction between two ranks under one tag.
  struct Channel {
    SendPiece send;
    ReceivePiece receive;
    bool has_send = false;
    bool has_receive = false;
    std::int64_t sends_started = 0;
    std::int64_t receives_started = 0;
    std::int64_t delivered = 0;
  };
  using ChannelKey = std::tuple<std::int64_t, int, int>;  // tag, from, to

  Channel& add_send(std::int64_t tag, int from, const SendPiece& piece);
  Channel& add_receive(std::int64_t tag, int to, const ReceivePiece& piece);
  void start(Channel& channel, std::int64_t Channel::*started);
  void wait(const Channel& channel, std::int64_t generation, Deadline deadline, int rank, int peer);
  void deliver(Channel& channel);

  const int world_size_;
  Courier* const courier_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::map<ChannelKey, Channel> channels_;
  std::vector<std::unique_ptr<std::byte, void (*)(void*)>> memory_;
  std::string abort_reason_;
};

}  // namespace pcpp

#endif  // PCPP_PARALLEL_LOCAL_TRANSPORT_H_
