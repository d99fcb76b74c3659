#include "cache/exchange_memory.h"

#include <algorithm>
#include <vector>

namespace pcpp {

namespace {

// Where the next message may begin: NCCL and copies within a GPU move single bytes elsewhere.
std::size_t aligned(std::size_t bytes) {
  constexpr std::size_t kVector = 16;
  return (bytes + kVector - 1) / kVector * kVector;
}

}  // namespace

ExchangeMemory::ExchangeMemory(const ExchangePlan& plan, int rank, std::span<const SiteId> sites,
                               StepKind kind, std::int64_t tag, int buffers)
    : plan_(plan),
      rank_(rank),
      patch_(plan.topology().patch_of(rank)),
      kind_(kind),
      tag_(tag),
      buffers_(buffers) {
  // GroupNorm's moments first: they are read where they lie, and a GPU reads no double at an
  // address that is not a multiple of its size, as they might be after rows.
  std::vector<SiteId> ordered(sites.begin(), sites.end());
  std::stable_partition(ordered.begin(), ordered.end(),
                        [&](SiteId site) { return plan_.site(site).kind == SiteKind::group_norm; });
  for (int peer = 0; peer < plan.topology().patches(); ++peer) {
    Message send = message(patch_, peer, ordered);
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
    Message receive = message(peer, patch_, ordered);
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
  for (const SiteId site : sites) {
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

// Of the site's owned rows, those from `row` on.
BatchRows<const std::byte> ExchangeMemory::from_row(SiteId site, std::int64_t row,
                                                    const BatchRows<const std::byte>& own) const {
  const SitePlan& plan = plan_.site(site);
  const std::int64_t first = plan.owned[static_cast<std::size_t>(patch_)].begin;
  return {own.data + (row - first) * plan.row_bytes, own.stride};
}

std::int64_t ExchangeMemory::pack(SiteId site, const BatchRows<const std::byte>& own,
                                  RowWriter& writer) const {
  const SitePlan& plan = plan_.site(site);
  std::int64_t travelling = 0;
  for (const Message& message : sends_) {
    for (const Part& part : message.parts) {
      if (part.site != site) continue;
      const std::int64_t bytes = part.rows.size() * plan.travelling_row_bytes(kind_);
      writer.write(plan, kind_, {send_ + message.offset + part.offset, bytes},
                   from_row(site, part.rows.begin, own), part.rows.size(),
                   last_rows(message, part));
      travelling += plan_.batch() * bytes * static_cast<std::int64_t>(message.peers.size());
    }
  }
  return travelling;
}

std::byte* ExchangeMemory::last_rows(const Message& message, const Part& part) const {
  if (kind_ == StepKind::synchronous || !plan_.site(part.site).is_residual()) return nullptr;
  return last_ + message.last_offset + part.last_offset;
}

void ExchangeMemory::keep_last(SiteId site, const BatchRows<const std::byte>& own,
                               RowWriter& writer) const {
  const SitePlan& plan = plan_.site(site);
  for (const Message& message : sends_) {
    for (const Part& part : message.parts) {
      if (part.site != site) continue;
      writer.write(plan, StepKind::synchronous,
                   {last_rows(message, part), part.rows.size() * plan.row_bytes},
                   from_row(site, part.rows.begin, own), part.rows.size(), nullptr);
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
