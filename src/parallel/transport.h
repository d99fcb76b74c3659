// How rows travel between ranks: exchanges that are prepared once and started many times.
#ifndef PCPP_PARALLEL_TRANSPORT_H_
#define PCPP_PARALLEL_TRANSPORT_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/deadline.h"

namespace pcpp {

// A contiguous piece of memory that goes to, or comes from, rank `peer`.
struct SendPiece {
  int peer = 0;
  const std::byte* address = nullptr;
  std::size_t bytes = 0;
};
struct ReceivePiece {
  int peer = 0;
  std::byte* address = nullptr;
  std::size_t bytes = 0;
};

// One rank's part of an exchange: at most one piece to and one from each peer.
struct Exchange {
  std::vector<SendPiece> sends;
  std::vector<ReceivePiece> receives;

  std::size_t sent_bytes() const;
};

// Exchanges of different lanes do not wait for each other.
enum class Lane {
  stale,   // rows that the next step reads
  gather,  // what this step waits for
};

using ExchangeId = int;

// One rank's endpoint. Used by that rank's thread alone.
//
// prepare() is collective in meaning: where rank a prepares tag t with a send of n bytes to rank b,
// rank b prepares tag t with a receive of n bytes from rank a. A piece is delivered once both
// ranks have started the tag: never before, so a receive address may be read until its rank
// starts the exchange, and a send address be written until its own does.
class Transport {
 public:
  virtual ~Transport();
  Transport() = default;
  Transport(const Transport&) = delete;
  Transport& operator=(const Transport&) = delete;

  virtual int rank() const = 0;
  virtual int world_size() const = 0;

  // Zero-filled memory to send from and receive into. It lives until every rank of the world has
  // ended, so that a peer still under way cannot write to memory that a failed rank gave back.
  virtual std::byte* allocate(std::size_t bytes) = 0;

  virtual ExchangeId prepare(std::int64_t tag, Lane lane, Exchange exchange) = 0;

  // Begins the exchange and returns without waiting. It must not be under way already.
  virtual void start(ExchangeId exchange) = 0;

  // Returns when every piece of the exchange has been delivered, those sent included. Throws
  // TransportError past the deadline, or once any rank of the world has failed.
  virtual void wait(ExchangeId exchange, Deadline deadline) = 0;
};

}  // namespace pcpp

#endif  // PCPP_PARALLEL_TRANSPORT_H_
