#include "cache/exchange_memory.h"

#include <algorithm>

#include "kernels/encode_rows.h"

namespace pcpp {

namespace {

// GroupNorm's pairs in so many rows.
std::int64_t moments_in(const SitePlan& site, std::int64_t rows) {
  return rows * site.row_bytes / static_cast<std::int64_t>(2 * sizeof(double));
}

// Where the next message may begin.
std::size_t aligned(std::size_t bytes) {
  return (bytes + sizeof(double) - 1) / sizeof(double) * sizeof(double);
}

// Calls function(a null pointer to the type of the elements).
template <typename Function>
void with_element(std::int64_t element_bytes, const Function& function) {
  if (element_bytes == sizeof(float)) {
    function(static_cast<float*>(nullptr));
  } else {
    function(static_cast<Bfloat16*>(nullptr));
  }
}
template <typename Function>
void with_gpu_element(const PlanShape& shape, const Function& function) {
  if (shape.is_float16) return function(static_cast<Float16*>(nullptr));
  with_element(shape.element_bytes, function);
}

void encode(CUstream_st* stream, const SitePlan& site, const PlanShape& shape,
            const EncodedRows& target, const std::byte* source, std::int64_t source_stride,
            std::int64_t batch, std::int64_t rows, std::byte* last) {
  if (site.kind == SiteKind::group_norm) {
    return encode_moments(target, {reinterpret_cast<const double*>(source), source_stride}, batch,
                          moments_in(site, rows), stream);
  }
  with_gpu_element(shape, [&]<typename Element>(Element*) {
    const SourceRows<Element> values{reinterpret_cast<const Element*>(source), source_stride};
    const std::int64_t row_values = site.row_bytes / shape.element_bytes;
    if (site.is_residual()) {
      encode_residual(target, reinterpret_cast<Element*>(last), values, batch, rows, row_values,
                      stream);
    } else {
      encode_rows(target, values, batch, rows, row_values, stream);
    }
  });
}

void decode(CUstream_st* stream, const SitePlan& site, const PlanShape& shape, std::byte* target,
            const Piece& piece, std::int64_t rows) {
  if (site.kind == SiteKind::group_norm) {
    return decode_moments(reinterpret_cast<double*>(target), piece.data, moments_in(site, rows),
                          stream);
  }
  with_gpu_element(shape, [&]<typename Element>(Element*) {
    const std::int64_t values = site.row_bytes / shape.element_bytes;
    if (site.is_residual()) {
      add_residual(reinterpret_cast<Element*>(piece.last), piece.data, rows, values, stream);
    } else {
      decode_rows(reinterpret_cast<Element*>(target), piece.data, rows, values, stream);
    }
  });
}

}  // namespace

void write_rows(Transport& transport, const SitePlan& site, StepKind kind, const PlanShape& shape,
                std::byte* target, std::int64_t target_stride, const std::byte* source,
                std::int64_t source_stride, std::int64_t batch, std::int64_t rows, std::byte* last,
                std::vector<RowCopy>& copies) {
  if (kind == StepKind::synchronous || !site.is_encoded()) {
    copies.push_back({target, target_stride, source, source_stride, batch, rows * site.row_bytes});
    return;
  }
  if (CUstream_st* stream = transport.stream()) {
    encode(stream, site, shape, {target, target_stride}, source, source_stride, batch, rows, last);
    return;
  }
  if (site.kind == SiteKind::group_norm) {
    for (std::int64_t item = 0; item < batch; ++item) {
      encode_moments(target + item * target_stride,
                     reinterpret_cast<const double*>(source + item * source_stride),
                     moments_in(site, rows));
    }
    return;
  }
  with_element(shape.element_bytes, [&]<typename Element>(Element*) {
    for (std::int64_t item = 0; item < batch; ++item) {
      const auto* values = reinterpret_cast<const Element*>(source + item * source_stride);
      std::byte* encoded = target + item * target_stride;
      if (site.is_residual()) {
        encode_residual(encoded, reinterpret_cast<Element*>(last + item * rows * site.row_bytes),
                        values, rows, site.row_bytes / shape.element_bytes);
      } else {
        encode_rows(encoded, values, rows, site.row_bytes / shape.element_bytes);
      }
    }
  });
}

void decode_piece(Transport& transport, const SitePlan& site, const PlanShape& shape,
                  std::byte* target, const Piece& piece, std::int64_t batch) {
  if (CUstream_st* stream = transport.stream()) {
    return decode(stream, site, shape, target, piece, batch * piece.rows.size());
  }
  if (site.kind == SiteKind::group_norm) {
    decode_moments(reinterpret_cast<double*>(target), piece.data,
                   moments_in(site, batch * piece.rows.size()));
    return;
  }
  with_element(shape.element_bytes, [&]<typename Element>(Element*) {
    const std::int64_t rows = batch * piece.rows.size();
    const std::int64_t values = site.row_bytes / shape.element_bytes;
    if (site.is_residual()) {
      add_residual(reinterpret_cast<Element*>(piece.last), piece.data, rows, values);
    } else {
      decode_rows(reinterpret_cast<Element*>(target), piece.data, rows, values);
    }
  });
}

ExchangeMemory::ExchangeMemory(const ExchangePlan& plan, int rank, std::span<const SiteId> sites,
                               StepKind kind, std::int64_t tag, int buffers)
    : plan_(plan),
      rank_(rank),
      patch_(plan.topology().patch_of(rank)),
      kind_(kind),
      tag_(tag),
      buffers_(buffers) {
  for (int peer = 0; peer < plan.topology().patches(); ++peer) {
    Message send = message(patch_, peer, sites);
    const auto same = std::find_if(sends_.begin(), sends_.end(),
                                   [&](const Message& other) { return other.parts == send.parts; });
    if (same != sends_.end()) {
      same->peers.push_back(peer);
    } else if (!send.parts.empty()) {
      send.offset = send_bytes_;
      send.last_offset = last_bytes_;
      send_bytes_ += aligned(send.bytes);
      last_bytes_ += send.last_bytes;
      sends_.push_back(std::move(send));
    }
    Message receive = message(peer, patch_, sites);
    if (receive.parts.empty()) continue;
    receive.peers = {peer};
    receive.offset = buffer_bytes_;
    receive.last_offset = last_bytes_;
    buffer_bytes_ += aligned(receive.bytes);
    last_bytes_ += receive.last_bytes;
    receives_.push_back(std::move(receive));
  }
}

ExchangeMemory::Message ExchangeMemory::message(int from, int to,
                                                std::span<const SiteId> sites) const {
  Message message;
  message.peers = {to};
  // GroupNorm's moments first: they are read where they lie, and a GPU reads no double at an
  // address that is not a multiple of its size, as they might be behind rows.
  std::vector<SiteId> ordered(sites.begin(), sites.end());
  std::ranges::stable_partition(
      ordered, [&](SiteId site) { return plan_.site(site).kind == SiteKind::group_norm; });
  for (const SiteId site : ordered) {
    const SitePlan& plan = plan_.site(site);
    const RowRange rows = plan.sent(from, to, kind_);
    if (rows.empty()) continue;
    message.parts.push_back({site, rows, message.bytes, message.last_bytes});
    const std::int64_t all_rows = plan_.batch() * rows.size();
    message.bytes += static_cast<std::size_t>(all_rows * plan.travelling_row_bytes(kind_));
    if (kind_ == StepKind::steady && plan.is_residual()) {
      message.last_bytes += static_cast<std::size_t>(all_rows * plan.row_bytes);
    }
  }
  return message;
}

std::size_t ExchangeMemory::send_bytes() const { return send_bytes_; }

std::size_t ExchangeMemory::receive_bytes() const {
  return static_cast<std::size_t>(buffers_) * buffer_bytes_;
}

std::size_t ExchangeMemory::last_bytes() const { return last_bytes_; }

void ExchangeMemory::prepare(Transport& transport, std::byte* send, std::byte* receive,
                             std::byte* last) {
  transport_ = &transport;
  send_ = send;
  receive_ = receive;
  last_ = last;
  for (int buffer = 0; buffer < buffers_; ++buffer) {
    Exchange exchange;
    for (const Message& message : sends_) {
      for (const int peer : message.peers) {
        exchange.sends.push_back(
            {plan_.topology().rank_of_patch(rank_, peer), send_ + message.offset, message.bytes});
      }
    }
    std::byte* base = receive_ + static_cast<std::size_t>(buffer) * buffer_bytes_;
    for (const Message& message : receives_) {
      exchange.receives.push_back({plan_.topology().rank_of_patch(rank_, message.peers.front()),
                                   base + message.offset, message.bytes});
    }
    exchanges_.push_back(transport.prepare(tag_ + buffer, Lane::stale, std::move(exchange)));
  }
}

std::int64_t ExchangeMemory::pack(SiteId site, const std::byte* own, std::int64_t batch_stride,
                                  std::vector<RowCopy>& copies) const {
  const SitePlan& plan = plan_.site(site);
  const std::int64_t first_row = plan.owned[static_cast<std::size_t>(patch_)].begin;
  std::int64_t travelling = 0;
  for (const Message& message : sends_) {
    for (const Part& part : message.parts) {
      if (part.site != site) continue;
      const std::int64_t bytes = part.rows.size() * plan.travelling_row_bytes(kind_);
      write_rows(*transport_, plan, kind_, plan_.shape(), send_ + message.offset + part.offset,
                 bytes, own + (part.rows.begin - first_row) * plan.row_bytes, batch_stride,
                 plan_.batch(), part.rows.size(), last_rows(message, part), copies);
      travelling += plan_.batch() * bytes * static_cast<std::int64_t>(message.peers.size());
    }
  }
  return travelling;
}

std::byte* ExchangeMemory::last_rows(const Message& message, const Part& part) const {
  if (kind_ == StepKind::synchronous || !plan_.site(part.site).is_residual()) return nullptr;
  return last_ + message.last_offset + part.last_offset;
}

void ExchangeMemory::keep_last(SiteId site, const std::byte* own, std::int64_t batch_stride,
                               std::vector<RowCopy>& copies) const {
  const SitePlan& plan = plan_.site(site);
  const std::int64_t first_row = plan.owned[static_cast<std::size_t>(patch_)].begin;
  for (const Message& message : sends_) {
    for (const Part& part : message.parts) {
      if (part.site != site) continue;
      const std::int64_t bytes = part.rows.size() * plan.row_bytes;
      copies.push_back({last_rows(message, part), bytes,
                        own + (part.rows.begin - first_row) * plan.row_bytes, batch_stride,
                        plan_.batch(), bytes});
    }
  }
}

std::vector<Piece> ExchangeMemory::pieces(SiteId site, int buffer) const {
  std::vector<Piece> pieces;
  for (const Message& message : receives_) {
    for (const Part& part : message.parts) {
      if (part.site != site) continue;
      std::byte* base = receive_ + static_cast<std::size_t>(buffer) * buffer_bytes_;
      pieces.push_back({part.rows, base + message.offset + part.offset, last_rows(message, part)});
    }
  }
  return pieces;
}

}  // namespace pcpp
