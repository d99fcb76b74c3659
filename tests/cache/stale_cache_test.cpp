#include "cache/stale_cache.h"

#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <map>
#include <memory>
#include <random>
#include <utility>
#include <vector>

#include "cache/cache_steps.h"
#include "cache/noise_gather.h"
#include "kernels/encode_rows.h"
#include "parallel/forwarding_transport.h"
#include "parallel/local_transport.h"
#include "parallel/rank_group.h"
#include "pcpp/error.h"
#include "support/elements.h"

namespace pcpp {
namespace {

using testing::kColumns;
using testing::kind_of;
using testing::kRows;
using testing::kSteps;
using testing::own_rows;
using testing::RandomCourier;
using testing::sites;
using testing::with_pool;

constexpr auto kTimeout = std::chrono::minutes(1);

class StaleCacheTest : public ::testing::TestWithParam<testing::MethodCase> {};

TEST_P(StaleCacheTest, ReadsThisStepsRowsThenExactlyTheStepBeforeWhateverTheDelays) {
  for (const testing::TransportCase& transport : testing::local_cases()) {
    SCOPED_TRACE(transport.name);
    testing::run_steps(GetParam(), *transport.make(GetParam().ranks));
  }
}

INSTANTIATE_TEST_SUITE_P(Methods, StaleCacheTest, ::testing::ValuesIn(testing::method_cases()),
                         [](const auto& suite) { return suite.param.name; });

// Rows of one value each come back as it, to rounding, so that a row tells whose it is.
float encoded_value(int step, SiteId site, std::int64_t branch, std::int64_t row) {
  return static_cast<float>(1 + (step * 61 + site * 17 + branch * 101 + row * 7) % 251);
}

template <typename Element>
std::vector<Element> encoded_own(const ExchangePlan& plan, int patch, int step, SiteId id) {
  const RowRange owned = plan.site(id).owned[static_cast<std::size_t>(patch)];
  const std::size_t values = static_cast<std::size_t>(plan.site(id).row_bytes) / sizeof(Element);
  std::vector<Element> own;
  for (std::int64_t branch = 0; branch < plan.batch(); ++branch) {
    for (std::int64_t row = owned.begin; row < owned.end; ++row) {
      own.insert(own.end(), values, element_of<Element>(encoded_value(step, id, branch, row)));
    }
  }
  return own;
}

// Of one band: a row of the same mean and deviation in every group.
std::vector<double> moments_own(const ExchangePlan& plan, int patch, int step, SiteId id) {
  const auto pairs = static_cast<std::size_t>(plan.site(id).row_bytes) / (2 * sizeof(double));
  std::vector<double> own;
  for (std::int64_t branch = 0; branch < plan.batch(); ++branch) {
    const double mean = encoded_value(step, id, branch, patch);
    for (std::size_t i = 0; i < pairs; ++i) own.insert(own.end(), {mean, mean * mean + 4});
  }
  return own;
}

// Of how many other bands `patch` reads rows of the site in a step of this kind.
std::size_t bands_read(const ExchangePlan& plan, int patch, SiteId id, StepKind kind) {
  std::size_t bands = 0;
  for (int from = 0; from < plan.topology().patches(); ++from) {
    if (!plan.site(id).sent(from, patch, kind).empty()) ++bands;
  }
  return bands;
}

// To float16's rounding.
void expect_moments(const ExchangePlan& plan, int step, SiteId id, const Reading& reading) {
  for (const Piece& piece : reading.pieces) {
    const auto* data = reinterpret_cast<const double*>(piece.data);
    const std::vector<double> expected =
        moments_own(plan, static_cast<int>(piece.rows.begin), step, id);
    ASSERT_EQ(piece.rows.size(), 1);
    for (std::size_t i = 0; i < expected.size(); i += 2) {
      ASSERT_NEAR(data[i], expected[i], 0x1p-11 * expected[i]) << id << ", step " << step;
      ASSERT_NEAR(data[i + 1] - data[i] * data[i], 4, 0.01) << id << ", step " << step;
    }
  }
}

template <typename Element>
void run_encoded_steps(const ExchangePlan& plan, Transport& transport) {
  StaleCache cache(plan, transport, kTimeout);
  NoiseGather gather(plan, transport, kTimeout);
  for (int step = 0; step + 1 < kSteps; ++step) {
    const int read_step = kind_of(step) == StepKind::steady ? step - 1 : step;
    cache.begin_step(kind_of(step), kind_of(step + 1));
    for (SiteId id = 0; id < static_cast<SiteId>(plan.sites().size()); ++id) {
      if (plan.site(id).kind == SiteKind::group_norm) {
        const std::vector<double> own = moments_own(plan, transport.rank(), step, id);
        const Reading moments =
            cache.swap(id, reinterpret_cast<const std::byte*>(own.data()), plan.site(id).row_bytes);
        ASSERT_EQ(moments.pieces.size(), static_cast<std::size_t>(plan.topology().patches() - 1));
        expect_moments(plan, read_step, id, moments);
        continue;
      }
      const std::vector<Element> own = encoded_own<Element>(plan, transport.rank(), step, id);
      const std::int64_t bytes = static_cast<std::int64_t>(own.size() * sizeof(Element));
      const Reading reading =
          cache.swap(id, reinterpret_cast<const std::byte*>(own.data()), bytes / plan.batch());
      ASSERT_EQ(reading.pieces.size(), bands_read(plan, transport.rank(), id, kind_of(step))) << id;
      const std::int64_t values =
          plan.site(id).row_bytes / static_cast<std::int64_t>(sizeof(Element));
      for (const Piece& piece : reading.pieces) {
        const auto* data = reinterpret_cast<const Element*>(piece.data);
        for (std::int64_t i = 0; i < plan.batch() * piece.rows.size() * values; ++i) {
          const std::int64_t row = i / values;
          const float expected = encoded_value(read_step, id, row / piece.rows.size(),
                                               piece.rows.begin + row % piece.rows.size());
          ASSERT_NEAR(float_of(data[i]), expected, expected * 0.003F) << id << ", step " << step;
        }
      }
    }
    cache.end_step();
    const std::vector<std::byte> noise(
        static_cast<std::size_t>(plan.noise_bytes(transport.rank())));
    gather.run(noise.data());
    SiteBytes planned = plan.sent_bytes(transport.rank(), kind_of(step));
    planned.gather = 0;
    EXPECT_EQ(cache.sent(), planned);
  }
}

TEST(StaleCache, ReadsEncodedRowsOfTheStepBefore) {
  ParallelConfig config = with_pool(4);
  config.row_format = RowFormat::int8;
  const Topology topology(3, config.guidance, 2, kRows, 4);
  RandomCourier random(5);
  for (const DataType dtype : {DataType::float32, DataType::bfloat16}) {
    const ExchangePlan plan(sites(), topology, config, {kRows, kColumns, 4, 1, dtype});
    LocalHub hub(3, &random);
    run_ranks(hub, [&](Transport& transport) {
      dtype == DataType::float32 ? run_encoded_steps<float>(plan, transport)
                                 : run_encoded_steps<Bfloat16>(plan, transport);
    });
  }
}

// Another value in every place of every step.
template <typename Element>
std::vector<Element> random_own(const ExchangePlan& plan, int patch, int step, SiteId id) {
  std::mt19937 random(static_cast<unsigned>((patch * 101 + step) * 1009 + id));
  std::normal_distribution<float> normal;
  const SitePlan& site = plan.site(id);
  const std::int64_t bytes =
      plan.batch() * site.owned[static_cast<std::size_t>(patch)].size() * site.row_bytes;
  std::vector<Element> own(static_cast<std::size_t>(bytes) / sizeof(Element));
  for (Element& value : own) set(value, normal(random));
  return own;
}

// The rows of a piece, [batch, rows, values], out of those of the patch that owns them.
template <typename Element>
std::vector<Element> rows_of_piece(const ExchangePlan& plan, int step, SiteId id,
                                   const RowRange& rows) {
  const SitePlan& site = plan.site(id);
  int patch = 0;
  while (intersect(site.owned[static_cast<std::size_t>(patch)], rows).empty()) ++patch;
  const RowRange owned = site.owned[static_cast<std::size_t>(patch)];
  const std::vector<Element> own = random_own<Element>(plan, patch, step, id);
  const std::int64_t values = site.row_bytes / static_cast<std::int64_t>(sizeof(Element));
  std::vector<Element> result;
  for (std::int64_t item = 0; item < plan.batch(); ++item) {
    const auto first = own.begin() + (item * owned.size() + rows.begin - owned.begin) * values;
    result.insert(result.end(), first, first + rows.size() * values);
  }
  return result;
}

// What those who read residuals must have, to the bit: the rows of the last synchronous step and
// all that was sent since.
template <typename Element>
void run_residual_steps(const ExchangePlan& plan, Transport& transport,
                        const std::vector<StepKind>& kinds) {
  StaleCache cache(plan, transport, kTimeout);
  NoiseGather gather(plan, transport, kTimeout);
  std::map<std::pair<SiteId, std::int64_t>, std::vector<Element>> last;  // by site and first row
  for (int step = 0; step < static_cast<int>(kinds.size()); ++step) {
    const auto kind = [&](int at) { return kinds[static_cast<std::size_t>(at)]; };
    const bool ends = step + 1 == static_cast<int>(kinds.size());
    cache.begin_step(kind(step), ends ? std::nullopt : std::optional(kind(step + 1)));
    for (SiteId id = 0; id < static_cast<SiteId>(plan.sites().size()); ++id) {
      const std::vector<Element> own = random_own<Element>(plan, transport.rank(), step, id);
      const auto bytes = static_cast<std::int64_t>(own.size() * sizeof(Element));
      const Reading reading =
          cache.swap(id, reinterpret_cast<const std::byte*>(own.data()), bytes / plan.batch());
      ASSERT_EQ(reading.pieces.size(), bands_read(plan, transport.rank(), id, kind(step))) << id;
      if (plan.site(id).kind == SiteKind::group_norm || kind(step) == StepKind::synchronous) {
        continue;
      }
      for (const Piece& piece : reading.pieces) {
        std::vector<Element>& rows = last[{id, piece.rows.begin}];
        const std::vector<Element> sent = rows_of_piece<Element>(plan, step - 1, id, piece.rows);
        if (kind(step - 1) == StepKind::synchronous) {
          rows = sent;
        } else {
          const std::int64_t count = plan.batch() * piece.rows.size();
          std::vector<std::byte> encoded(
              static_cast<std::size_t>(count * plan.site(id).steady_row_bytes));
          encode_residual(encoded.data(), rows.data(), sent.data(), count,
                          static_cast<std::int64_t>(sent.size()) / count);
        }
        const auto* data = reinterpret_cast<const Element*>(piece.data);
        for (std::size_t i = 0; i < rows.size(); ++i) {
          ASSERT_EQ(float_of(data[i]), float_of(rows[i])) << id << ", step " << step;
        }
      }
    }
    cache.end_step();
    const std::vector<std::byte> noise(
        static_cast<std::size_t>(plan.noise_bytes(transport.rank())));
    gather.run(noise.data());
    if (ends || kind(step) != kind(step + 1)) continue;
    SiteBytes planned = plan.sent_bytes(transport.rank(), kind(step));
    planned.gather = 0;
    EXPECT_EQ(cache.sent(), planned);
  }
}

TEST(StaleCache, KeepsTheRowsThatResidualsAreAddedToTheSameOnBothEnds) {
  constexpr StepKind kFresh = StepKind::synchronous;
  constexpr StepKind kStale = StepKind::steady;
  const std::vector<StepKind> kinds = {kFresh, kFresh, kStale, kStale, kStale,
                                       kStale, kFresh, kStale, kStale, kStale};
  for (ParallelConfig config : {with_pool(4), ParallelConfig::distrifusion()}) {
    config.row_format = RowFormat::int4;
    const Topology topology(3, config.guidance, 2, kRows, 4);
    RandomCourier random(6);
    for (const DataType dtype : {DataType::float32, DataType::bfloat16}) {
      const ExchangePlan plan(sites(), topology, config, {kRows, kColumns, 4, 1, dtype});
      LocalHub hub(3, &random);
      run_ranks(hub, [&](Transport& transport) {
        dtype == DataType::float32 ? run_residual_steps<float>(plan, transport, kinds)
                                   : run_residual_steps<Bfloat16>(plan, transport, kinds);
      });
    }
  }
}

class CountingTransport final : public ForwardingTransport {
 public:
  using ForwardingTransport::ForwardingTransport;
  void copy_rows(std::span<const RowCopy> copies) override {
    calls.push_back(copies.size());
    ForwardingTransport::copy_rows(copies);
  }
  std::vector<std::size_t> calls;  // how many copies each was for
};

// Each call is a launch on a GPU.
TEST(StaleCache, CopiesAllOfASteadySwapTogether) {
  ParallelConfig config = ParallelConfig::pcpp();
  config.group_norm = GroupNormMode::corrected;
  const std::vector<Site> some = {{"norm", SiteKind::group_norm, 0, 2, 0, 0},
                                  {"conv", SiteKind::halo, 0, 3, 1, 1}};
  const Topology topology(3, config.guidance, 2, kRows, 4);
  const ExchangePlan plan(some, topology, config, {kRows, kColumns, 4, 1});
  LocalHub hub(3);
  run_ranks(hub, [&](Transport& endpoint) {
    CountingTransport transport(endpoint);
    StaleCache cache(plan, transport, kTimeout);
    for (const StepKind kind : {StepKind::synchronous, StepKind::steady}) {
      transport.calls.clear();
      cache.begin_step(kind, StepKind::steady);
      for (const SiteId id : {0, 1}) {
        const std::vector<std::byte> own = own_rows(plan, transport.rank(), 0, id);
        cache.swap(id, own.data(), static_cast<std::int64_t>(own.size()) / plan.batch());
      }
      cache.end_step();
    }
    // The norm's moments for each peer's message and for itself; a row for each neighbour.
    const std::size_t neighbours = transport.rank() == 1 ? 2 : 1;
    EXPECT_EQ(transport.calls, (std::vector<std::size_t>{3, neighbours}));
  });
}

TEST(StaleCache, SendsNothingThatNobodyWillRead) {
  const ParallelConfig config = ParallelConfig::pcpp();
  const Topology topology(1 + 1, config.guidance, 2, kRows, 4);
  const std::vector<Site> some = {{"conv", SiteKind::halo, 0, 3, 1, 1}};
  const ExchangePlan plan(some, topology, config, {kRows, kColumns, 4, 1});
  LocalHub hub(2);
  run_ranks(hub, [&](Transport& transport) {
    StaleCache cache(plan, transport, kTimeout);
    const int patch = transport.rank();
    const auto step = [&](StepKind kind, std::optional<StepKind> next) {
      cache.begin_step(kind, next);
      const std::vector<std::byte> own = own_rows(plan, patch, 0, 0);
      cache.swap(0, own.data(), static_cast<std::int64_t>(own.size()) / plan.batch());
      cache.end_step();
    };
    step(StepKind::synchronous, StepKind::steady);
    step(StepKind::steady, StepKind::synchronous);
    EXPECT_EQ(cache.sent(), SiteBytes{});
    step(StepKind::synchronous, StepKind::steady);
    step(StepKind::steady, std::nullopt);
    EXPECT_EQ(cache.sent(), SiteBytes{});
  });
}

TEST(StaleCache, RefusesMisuse) {
  const ParallelConfig config = ParallelConfig::pcpp();
  const Topology topology(2, config.guidance, 2, kRows, 4);
  const std::vector<Site> two = {{"a", SiteKind::halo, 0, 3, 1, 1},
                                 {"b", SiteKind::halo, 0, 3, 1, 1}};
  const ExchangePlan plan(two, topology, config, {kRows, kColumns, 4, 1});
  LocalHub hub(2);
  const std::unique_ptr<Transport> transport = hub.endpoint(0);
  StaleCache cache(plan, *transport, kTimeout);
  EXPECT_THROW(cache.begin_step(StepKind::steady, std::nullopt), std::logic_error);
  cache.begin_step(StepKind::synchronous, std::nullopt);
  EXPECT_THROW(cache.begin_step(StepKind::synchronous, std::nullopt), std::logic_error);
  const std::vector<std::byte> own = own_rows(plan, 0, 0, 0);
  const auto stride = static_cast<std::int64_t>(own.size()) / plan.batch();
  EXPECT_THROW(cache.swap(1, own.data(), stride), std::logic_error);
  EXPECT_THROW(cache.end_step(), std::logic_error);
}

TEST(StaleCache, AStopEndsTheNextSwap) {
  const ParallelConfig config = ParallelConfig::pcpp();
  const Topology topology(1, config.guidance, 2, kRows, 4);
  const std::vector<Site> one = {{"a", SiteKind::halo, 0, 3, 1, 1}};
  const ExchangePlan plan(one, topology, config, {kRows, kColumns, 4, 1});
  LocalHub hub(1);
  const std::unique_ptr<Transport> transport = hub.endpoint(0);
  std::stop_source source;
  StaleCache cache(plan, *transport, kTimeout, source.get_token());
  cache.begin_step(StepKind::synchronous, std::nullopt);
  source.request_stop();
  const std::vector<std::byte> own = own_rows(plan, 0, 0, 0);
  EXPECT_THROW(cache.swap(0, own.data(), static_cast<std::int64_t>(own.size()) / plan.batch()),
               Cancelled);
}

}  // namespace
}  // namespace pcpp
