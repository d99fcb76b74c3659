#include "parallel/rank_group.h"

#include <exception>
#include <mutex>
#include <new>

#include "base/check.h"

namespace pcpp {

namespace {

// The same exception with the rank's number before its text.
std::exception_ptr with_rank(int rank, const std::exception_ptr& error) {
  const auto prefixed = [rank](const Error& e) {
    return fmt::format("rank {}: {}", rank, e.what());
  };
  try {
    std::rethrow_exception(error);
  } catch (const ConfigError& e) {
    return std::make_exception_ptr(ConfigError(prefixed(e)));
  } catch (const CheckpointError& e) {
    return std::make_exception_ptr(CheckpointError(prefixed(e)));
  } catch (const OutputError& e) {
    return std::make_exception_ptr(OutputError(prefixed(e)));
  } catch (const TransportError& e) {
    return std::make_exception_ptr(TransportError(prefixed(e)));
  } catch (const DeviceError& e) {
    return std::make_exception_ptr(DeviceError(prefixed(e)));
  } catch (...) {
    return error;
  }
}

}  // namespace

void run_ranks(Hub& hub, const std::function<void(Transport&)>& function, RankThreads& threads) {
  std::mutex mutex;
  std::exception_ptr first;
  const auto note = [&](int rank) noexcept {
    const std::lock_guard lock(mutex);
    if (first) return;
    first = std::current_exception();
    try {
      if (hub.world_size() > 1) first = with_rank(rank, first);
    } catch (const std::bad_alloc&) {  // then without the rank
    }
  };
  threads.run(hub.world_size(), [&](int rank) {
    std::unique_ptr<Transport> transport;  // outlives the abort: its end may wait for others
    try {
      transport = hub.endpoint(rank);
      function(*transport);
    } catch (...) {
      note(rank);
      hub.abort(fmt::format("rank {} failed", rank));
    }
  });
  if (first) std::rethrow_exception(first);
}

void run_ranks(Hub& hub, const std::function<void(Transport&)>& function) {
  RankThreads threads;
  run_ranks(hub, function, threads);
}

}  // namespace pcpp
