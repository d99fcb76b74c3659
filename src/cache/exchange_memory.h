// Where the rows of one exchange lie: packed for sending, and as they arrive.
#ifndef PCPP_CACHE_EXCHANGE_MEMORY_H_
#define PCPP_CACHE_EXCHANGE_MEMORY_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "cache/exchange_plan.h"
#include "cache/row_writer.h"
#include "parallel/transport.h"

namespace pcpp {

// One rank's part of the exchange of some sites. A message holds the rows of its sites, GroupNorms
// first, each [batch, rows, bytes of a travelling row]; peers that read the same rows share one
// packed message. Not thread-safe.
class ExchangeMemory {
 public:
  // `sites` in order, `kind` the kind of step whose reads are exchanged. With `buffers` 2 there are
  // two sets of receive memory and two exchanges, tags `tag` and `tag + 1`.
  ExchangeMemory(const ExchangePlan& plan, int rank, std::span<const SiteId> sites, StepKind kind,
                 std::int64_t tag, int buffers);

  std::size_t send_bytes() const;     // of memory
  std::size_t receive_bytes() const;  // of memory, all buffers
  std::size_t last_bytes() const;     // of memory for the last rows sent and received as residuals

  // Takes the memory (of send_bytes(), receive_bytes() and last_bytes()) and prepares the
  // exchanges. Exchanges that are never under way together may share memory, but for the last rows.
  // `transport` must outlive the object.
  void prepare(Transport& transport, std::byte* send, std::byte* receive, std::byte* last);

  // After prepare(): writes what peers read of `site` out of its owned rows (see
  // StaleCache::swap); returns the bytes that travel, counted once for each peer.
  std::int64_t pack(SiteId site, const BatchRows<const std::byte>& own, RowWriter& writer) const;

  // After prepare(): takes the owned rows for the last ones sent of `site`.
  void keep_last(SiteId site, const BatchRows<const std::byte>& own, RowWriter& writer) const;

  // What is received of `site` in `buffer`, in the image's order, as it travelled.
  std::vector<Piece> pieces(SiteId site, int buffer) const;

  ExchangeId exchange(int buffer) const { return exchanges_.at(static_cast<std::size_t>(buffer)); }

 private:
  struct Part {
    SiteId site = 0;
    RowRange rows;
    std::size_t offset = 0;
    std::size_t last_offset = 0;
    friend bool operator==(const Part&, const Part&) = default;
  };
  struct Message {
    std::vector<int> peers;  // patches
    std::vector<Part> parts;
    std::size_t bytes = 0;
    std::size_t offset = 0;  // in the send memory, or in one buffer of the receive memory
    std::size_t last_bytes = 0;
    std::size_t last_offset = 0;
  };
  Message message(int from, int to, std::span<const SiteId> sites) const;
  std::byte* last_rows(const Message& message, const Part& part) const;
  BatchRows<const std::byte> from_row(SiteId site, std::int64_t row,
                                      const BatchRows<const std::byte>& own) const;

  const ExchangePlan& plan_;
  int rank_;
  int patch_;
  StepKind kind_;
  std::int64_t tag_;
  int buffers_;
  std::vector<Message> sends_;
  std::vector<Message> receives_;
  std::size_t send_bytes_ = 0;
  std::size_t buffer_bytes_ = 0;
  std::size_t last_bytes_ = 0;
  std::byte* send_ = nullptr;
  std::byte* receive_ = nullptr;
  std::byte* last_ = nullptr;
  std::vector<ExchangeId> exchanges_;
};

}  // namespace pcpp

#endif  // PCPP_CACHE_EXCHANGE_MEMORY_H_
