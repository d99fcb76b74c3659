#include "parallel/switchboard.h"

#include <algorithm>

#include "base/check.h"

namespace pcpp {

Switchboard::Ends Switchboard::connect(std::int64_t tag, int rank, const Exchange& exchange) {
  Ends ends;
  ends.rank = rank;
  const std::lock_guard lock(mutex_);
  for (const SendPiece& piece : exchange.sends) {
    Channel& channel = channels_[{tag, rank, piece.peer}];
    check<TransportError>(!channel.has_send, "rank {} prepared tag {} to rank {} twice", rank, tag,
                          piece.peer);
    channel.tag = tag;
    channel.has_send = true;
    channel.send = piece;
    ends.sends.push_back(&channel);
  }
  for (const ReceivePiece& piece : exchange.receives) {
    Channel& channel = channels_[{tag, piece.peer, rank}];
    check<TransportError>(!channel.has_receive, "rank {} prepared tag {} from rank {} twice", rank,
                          tag, piece.peer);
    channel.tag = tag;
    channel.has_receive = true;
    channel.receive = piece;
    ends.receives.push_back(&channel);
  }
  return ends;
}

void Switchboard::start(Ends& ends, const std::function<void(Channel&)>& matched) {
  ++ends.generation;
  for (Channel* channel : ends.receives) {
    if (start(*channel, &Channel::receives_started)) matched(*channel);
  }
  for (Channel* channel : ends.sends) {
    if (start(*channel, &Channel::sends_started)) matched(*channel);
  }
}

bool Switchboard::start(Channel& channel, std::int64_t Channel::*started) {
  const std::lock_guard lock(mutex_);
  ++(channel.*started);
  if (channel.sends_started != channel.receives_started) return false;
  check<TransportError>(channel.send.bytes == channel.receive.bytes,
                        "rank {} sends {} bytes where rank {} expects {}", channel.receive.peer,
                        channel.send.bytes, channel.send.peer, channel.receive.bytes);
  return true;
}

void Switchboard::delivered(Channel& channel) {
  const std::lock_guard lock(mutex_);
  ++channel.delivered;
  channel.delivered_at = Clock::now();
  for (const int rank : {channel.send.peer, channel.receive.peer}) {
    const auto found = waiters_.find(rank);
    if (found == waiters_.end()) continue;
    Waiter& waiter = *found->second;
    if (waiter.tag != channel.tag) continue;
    if (--waiter.open == 0) waiter.changed.notify_one();
  }
}

bool Switchboard::is_delivered(const Ends& ends) {
  const std::lock_guard lock(mutex_);
  const auto here = [&](const Channel* channel) { return channel->delivered >= ends.generation; };
  return std::ranges::all_of(ends.receives, here) && std::ranges::all_of(ends.sends, here);
}

void Switchboard::wait(const Ends& ends, Deadline deadline) {
  const auto is_open = [&](const Channel* channel) { return channel->delivered < ends.generation; };
  std::unique_lock lock(mutex_);
  Waiter waiter;
  waiter.open =
      std::ranges::count_if(ends.receives, is_open) + std::ranges::count_if(ends.sends, is_open);
  if (waiter.open == 0) return;
  waiter.tag = (ends.receives.empty() ? ends.sends : ends.receives).front()->tag;
  waiters_[ends.rank] = &waiter;
  const bool in_time =
      waiter.changed.wait_until(lock, deadline, [&] { return waiter.open == 0 || !is_running(); });
  waiters_.erase(ends.rank);
  if (waiter.open == 0) return;
  check_is_running();
  const auto late = std::ranges::find_if(ends.receives, is_open);
  const int peer = late != ends.receives.end()
                       ? (*late)->receive.peer
                       : (*std::ranges::find_if(ends.sends, is_open))->send.peer;
  check<TransportError>(in_time,
                        "rank {} waited for rank {} until its deadline; the peer is stuck "
                        "or too slow: raise the peer timeout",
                        ends.rank, peer);
}

Clock::time_point Switchboard::last_delivery(const Ends& ends) {
  const std::lock_guard lock(mutex_);
  Clock::time_point last;
  for (const Channel* channel : ends.sends) last = std::max(last, channel->delivered_at);
  return last;
}

void Switchboard::abort(const std::string& reason) {
  const std::lock_guard lock(mutex_);
  if (abort_reason_.empty()) abort_reason_ = reason.empty() ? "a rank failed" : reason;
  wake_all();
}

void Switchboard::stop() {
  const std::lock_guard lock(mutex_);
  is_stopped_ = true;
  wake_all();
}

void Switchboard::check_running() {
  const std::lock_guard lock(mutex_);
  check_is_running();
}

void Switchboard::check_is_running() const {
  if (is_stopped_) fail_stopped();
  check<TransportError>(abort_reason_.empty(), "{}", abort_reason_);
}

void Switchboard::wake_all() {
  for (const auto& [rank, waiter] : waiters_) waiter->changed.notify_one();
}

}  // namespace pcpp
