// Rows between where operators have them and how they travel: copied, or encoded.
#ifndef PCPP_CACHE_ROW_WRITER_H_
#define PCPP_CACHE_ROW_WRITER_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "cache/exchange_plan.h"
#include "parallel/transport.h"

namespace pcpp {

// Rows of a batch: item i's begin at data + i * stride bytes, one after the other.
template <typename Byte>
struct BatchRows {
  Byte* data = nullptr;
  std::int64_t stride = 0;
};

// Rows of another patch: [batch, rows.size(), row_bytes], contiguous.
struct Piece {
  RowRange rows;
  std::byte* data = nullptr;
  std::byte* last = nullptr;  // the rows that residuals are added to; null where none travel
};

// One rank's. Works on the rank's stream, in the order of the calls but for what flush() copies.
class RowWriter {
 public:
  // Both must outlive it.
  RowWriter(const ExchangePlan& plan, Transport& transport) : plan_(plan), transport_(transport) {}

  // Writes `rows` rows of each of the batch's items as they travel in a step of this kind: those
  // that travel as they are with the next flush(), those that are encoded at once. `last`, where
  // residuals travel: the rows as those who read them have them, [batch, rows, row_bytes].
  void write(const SitePlan& site, StepKind kind, const BatchRows<std::byte>& target,
             const BatchRows<const std::byte>& source, std::int64_t rows, std::byte* last);

  // Brings back what is encoded, [batch, rows.size(), row_bytes], to `target`; residuals it adds to
  // piece.last.
  void decode(const SitePlan& site, std::byte* target, const Piece& piece);

  // Makes the copies of all write() since the last one, in one call of the transport's.
  void flush();

 private:
  void encode_on_cpu(const SitePlan& site, const BatchRows<std::byte>& target,
                     const BatchRows<const std::byte>& source, std::int64_t rows, std::byte* last);
  void encode_on_gpu(const SitePlan& site, const BatchRows<std::byte>& target,
                     const BatchRows<const std::byte>& source, std::int64_t rows, std::byte* last);

  const ExchangePlan& plan_;
  Transport& transport_;
  std::vector<RowCopy> copies_;
};

}  // namespace pcpp

#endif  // PCPP_CACHE_ROW_WRITER_H_
