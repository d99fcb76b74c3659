// How rows travel between ranks: exchanges that are prepared once and started many times.
#ifndef PCPP_PARALLEL_TRANSPORT_H_
#define PCPP_PARALLEL_TRANSPORT_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/deadline.h"
#include "kernels/copy_rows.h"

namespace pcpp {

class Timeline;

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
// A rank computes on its stream: on a CPU that is the rank's thread itself, on a GPU a CUDA stream
// that the thread feeds and runs ahead of. Copies, exchanges and waits take their place in the
// order of that stream, so the same calls serve both.
//
// prepare() is collective in meaning: where rank a prepares tag t with a send of n bytes to rank b,
// rank b prepares tag t with a receive of n bytes from rank a. A piece is delivered once both
// ranks' streams have started the tag: never before, so a receive address may be read until its
// rank starts the exchange, and a send address be written until its own does. All ranks start their
// exchanges in the same order.
class Transport {
 public:
  virtual ~Transport();
  Transport() = default;
  Transport(const Transport&) = delete;
  Transport& operator=(const Transport&) = delete;

  virtual int rank() const = 0;
  virtual int world_size() const = 0;
  // The CUDA stream that the rank computes on; null on a CPU.
  virtual CUstream_st* stream() const = 0;

  // Zero-filled memory of the rank's device to send from and receive into. It lives until every
  // rank of the world has ended, so that a peer still under way cannot write to memory that a
  // failed rank gave back.
  virtual std::byte* allocate(std::size_t bytes) = 0;

  // kernels/copy_rows.h on the rank's stream, within the rank's device.
  virtual void copy_rows(std::span<const RowCopy> copies) = 0;

  virtual ExchangeId prepare(std::int64_t tag, Lane lane, Exchange exchange) = 0;

  // Begins the exchange and returns without waiting. It must not be under way already. May throw
  // TransportError once any rank of the world has failed.
  virtual void start(ExchangeId exchange) = 0;

  // What follows on the rank's stream finds every piece of the exchange delivered, those sent
  // included. On a GPU the host waits only for peers that have not yet given their part to their
  // devices, and for its own stream where that has not passed the same exchange's last wait: so a
  // stuck peer is noticed, and the host is never further ahead. Throws TransportError past the
  // deadline, or once any rank of the world has failed, and Cancelled after Hub::stop().
  virtual void wait(ExchangeId exchange, Deadline deadline) = 0;

  // The host waits until the rank's device has been given all that was started; a CPU has been. To
  // be called before the thread waits for anything but this transport, like a lock or the device's
  // memory: until then a peer's device may stand still. Throws as wait() does.
  virtual void flush(Deadline /*deadline*/) {}

  // The host waits until the rank's stream has done all that it was given. Throws as wait() does.
  virtual void drain(Deadline deadline) = 0;

  // What is known of the time on the rank's stream.
  virtual Timeline& timeline() = 0;
};

// Where the ranks that are threads of one process come together. Thread-safe. Create one for each
// run of the ranks; it outlives the endpoints.
class Hub {
 public:
  virtual ~Hub();
  Hub() = default;
  Hub(const Hub&) = delete;
  Hub& operator=(const Hub&) = delete;

  virtual int world_size() const = 0;
  // Called once for each rank, by its thread.
  virtual std::unique_ptr<Transport> endpoint(int rank) = 0;
  // Once all ranks have ended: waits until their devices have done what they were given, as long as
  // ranks wait for each other at most. Whether they have: else nothing that they use may be freed.
  virtual bool finish() noexcept { return true; }
  // Makes every present and later wait for what has not arrived throw TransportError with this
  // text. The first call counts.
  virtual void abort(const std::string& reason) = 0;
  // Likewise Cancelled, which comes first; for whoever requests a stop: it waits for nothing, and
  // calls no device.
  virtual void stop() = 0;
};

}  // namespace pcpp

#endif  // PCPP_PARALLEL_TRANSPORT_H_
