#include "cache/noise_gather.h"

namespace pcpp {

namespace {
constexpr std::int64_t kTag = -1;  // the stale cache's tags are not negative
}  // namespace

NoiseGather::NoiseGather(const ExchangePlan& plan, Transport& transport,
                         std::chrono::milliseconds timeout)
    : transport_(transport),
      timeout_(timeout),
      rank_(transport.rank()),
      own_bytes_(plan.noise_bytes(rank_)) {
  const auto bytes = [&](int rank) { return static_cast<std::size_t>(plan.noise_bytes(rank)); };
  for (int rank = 0; rank < transport.world_size(); ++rank) {
    bands_.push_back(transport.allocate(bytes(rank)));
  }
  Exchange exchange;
  for (int peer = 0; peer < transport.world_size(); ++peer) {
    if (peer == rank_) continue;
    exchange.sends.push_back({peer, band(rank_), bytes(rank_)});
    exchange.receives.push_back({peer, bands_[static_cast<std::size_t>(peer)], bytes(peer)});
  }
  sent_bytes_ = static_cast<std::int64_t>(exchange.sent_bytes());
  exchange_ = transport.prepare(kTag, Lane::gather, std::move(exchange));
}

void NoiseGather::run(const std::byte* own) {
  const RowCopy kept{
      bands_[static_cast<std::size_t>(rank_)], own_bytes_, own, own_bytes_, 1, own_bytes_};
  transport_.copy_rows({&kept, 1});
  transport_.start(exchange_);
  transport_.wait(exchange_, deadline_in(timeout_));
}

}  // namespace pcpp
