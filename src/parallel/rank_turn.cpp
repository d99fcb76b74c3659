#include "parallel/rank_turn.h"

namespace pcpp {

namespace {

constexpr std::size_t kBytes = 16;  // that there is something to send

// Neither the gather's nor the stale cache's.
std::int64_t tag_of(int sender) { return -2 - std::int64_t{sender}; }

}  // namespace

RankTurn::RankTurn(Transport& transport, std::chrono::milliseconds timeout)
    : transport_(transport), timeout_(timeout) {
  const int rank = transport.rank();
  std::byte* memory = transport.allocate(2 * kBytes);
  if (rank > 0) {
    from_before_ =
        transport.prepare(tag_of(rank - 1), Lane::gather,
                          {{}, {{.peer = rank - 1, .address = memory, .bytes = kBytes}}});
  }
  if (rank + 1 < transport.world_size()) {
    to_next_ =
        transport.prepare(tag_of(rank), Lane::gather,
                          {{{.peer = rank + 1, .address = memory + kBytes, .bytes = kBytes}}, {}});
  }
}

void RankTurn::take() {
  if (to_next_ && has_passed_) wait(*to_next_);
  if (!from_before_) return;
  transport_.start(*from_before_);
  wait(*from_before_);
}

void RankTurn::pass() {
  if (to_next_) transport_.start(*to_next_);
  has_passed_ = true;
}

}  // namespace pcpp
