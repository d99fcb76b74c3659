#include "cache/cache_steps.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <functional>
#include <optional>
#include <utility>

#include "cache/noise_gather.h"
#include "cache/stale_cache.h"
#include "parallel/rank_group.h"

namespace pcpp::testing {

namespace {

constexpr auto kTimeout = std::chrono::minutes(1);
constexpr int kSyncSteps = 2;
constexpr std::byte kOverwritten{0xEE};

std::byte value_at(int step, SiteId site, std::int64_t branch, std::int64_t row) {
  return static_cast<std::byte>((step * 61 + site * 17 + branch * 101 + row * 7 + 3) % 251);
}

// The rows of others that `reading` holds must be exactly the planned ones, of step `step`.
void expect_reading(const ExchangePlan& plan, int patch, int step, SiteId site, StepKind kind,
                    const Reading& reading) {
  const SitePlan& site_plan = plan.site(site);
  const RowRange reads = site_plan.reads(kind)[static_cast<std::size_t>(patch)];
  const RowRange owned = site_plan.owned[static_cast<std::size_t>(patch)];
  std::int64_t next = reads.begin;
  for (const Piece& piece : reading.pieces) {
    if (next == owned.begin) next = owned.end;
    ASSERT_EQ(piece.rows.begin, next);
    next = piece.rows.end;
    if (site_plan.kind == SiteKind::group_norm) {
      ASSERT_EQ(reinterpret_cast<std::uintptr_t>(piece.data) % alignof(double), 0U);
    }
    for (std::int64_t branch = 0; branch < plan.batch(); ++branch) {
      for (std::int64_t row = 0; row < piece.rows.size(); ++row) {
        const std::byte* data =
            piece.data + (branch * piece.rows.size() + row) * site_plan.row_bytes;
        for (std::int64_t i = 0; i < site_plan.row_bytes; ++i) {
          ASSERT_EQ(data[i], value_at(step, site, branch, piece.rows.begin + row))
              << "site " << site << " step " << step << " row " << piece.rows.begin + row;
        }
      }
    }
  }
  if (next == owned.begin) next = owned.end;
  ASSERT_EQ(next, reads.end);
}

// One rank, whose operators all work in the same piece of memory, as an allocator would have it.
class RankSteps {
 public:
  RankSteps(const ExchangePlan& plan, Transport& transport, TransportWorld& world)
      : plan_(plan),
        transport_(transport),
        world_(world),
        patch_(plan.topology().patch_of(transport.rank())),
        cache_(plan, transport, kTimeout),
        gather_(plan, transport, kTimeout) {
    auto bytes = static_cast<std::size_t>(plan.noise_bytes(transport.rank()));
    for (SiteId site = 0; site < site_count(); ++site) {
      bytes = std::max(bytes, own_rows(plan, patch_, 0, site).size());
    }
    own_ = transport.allocate(bytes);
  }

  void run() {
    for (int step = 0; step < kSteps; ++step) {
      const bool last = step + 1 == kSteps;
      cache_.begin_step(kind_of(step), last ? std::nullopt : std::optional(kind_of(step + 1)));
      for (SiteId site = 0; site < site_count(); ++site) swap(step, site);
      cache_.end_step();
      gather(step);
      SiteBytes planned = plan_.sent_bytes(transport_.rank(), kind_of(step));
      planned.gather = 0;
      if (last) continue;
      EXPECT_EQ(cache_.sent(), planned);
    }
    EXPECT_EQ(gather_.sent_bytes(), plan_.sent_bytes(transport_.rank(), StepKind::steady).gather);
    transport_.drain(deadline_in(kTimeout));
  }

 private:
  SiteId site_count() const { return static_cast<SiteId>(plan_.sites().size()); }
  void compute(std::function<void()> function) { world_.compute(transport_, std::move(function)); }

  void write_own(const std::vector<std::byte>& values) {
    compute([own = own_, values] { std::copy(values.begin(), values.end(), own); });
  }

  void swap(int step, SiteId site) {
    const StepKind kind = kind_of(step);
    const std::vector<std::byte> own = own_rows(plan_, patch_, step, site);
    const SitePlan& site_plan = plan_.site(site);
    write_own(own);
    const Reading reading =
        cache_.swap(site, own_, static_cast<std::int64_t>(own.size()) / plan_.batch());
    const bool fresh = kind == StepKind::synchronous || site_plan.always_fresh;
    const int read_step = fresh ? step : step - 1;
    EXPECT_EQ(reading.own_previous != nullptr, site_plan.keeps_own);
    compute([=, &plan = plan_, patch = patch_, memory = own_] {
      expect_reading(plan, patch, read_step, site, kind, reading);
      if (reading.own_previous != nullptr) {
        const std::vector<std::byte> kept = own_rows(plan, patch, read_step, site);
        EXPECT_EQ(std::memcmp(reading.own_previous, kept.data(), kept.size()), 0);
      }
      std::fill_n(memory, own.size(), kOverwritten);
    });
  }

  void gather(int step) {
    const auto band_of = [this, step](int rank) {
      return std::vector<std::byte>(static_cast<std::size_t>(plan_.noise_bytes(rank)),
                                    static_cast<std::byte>(10 * step + rank));
    };
    write_own(band_of(transport_.rank()));
    gather_.run(own_);
    for (int rank = 0; rank < transport_.world_size(); ++rank) {
      compute([band = gather_.band(rank), expected = band_of(rank)] {
        EXPECT_EQ(std::memcmp(band, expected.data(), expected.size()), 0);
      });
    }
    compute([own = own_] { *own = kOverwritten; });
  }

  const ExchangePlan& plan_;
  Transport& transport_;
  TransportWorld& world_;
  const int patch_;
  StaleCache cache_;
  NoiseGather gather_;
  std::byte* own_ = nullptr;
};

ParallelConfig with_group_norm(GroupNormMode mode) {
  ParallelConfig config = ParallelConfig::pcpp();
  config.group_norm = mode;
  return config;
}

ParallelConfig with_bands(ParallelConfig config, const std::vector<int>& bands) {
  config.bands = bands;
  return config;
}

ParallelConfig split(ParallelConfig config) {
  config.guidance = Guidance::split;
  return config;
}

}  // namespace

StepKind kind_of(int step) { return step < kSyncSteps ? StepKind::synchronous : StepKind::steady; }

std::vector<Site> sites() {
  std::vector<Site> sites;
  for (int i = 0; i < 9; ++i) {
    sites.push_back({"norm", SiteKind::group_norm, i % 3, 2, 0, 0});
    sites.push_back({"conv", SiteKind::halo, i % 3, 3, 1, 1});
    sites.push_back({"attn", SiteKind::pooled, i % 3, 4, 0, 0});
    sites.push_back({"attn", SiteKind::attention, i % 3, 4, 0, 0});
    sites.push_back({"down", SiteKind::halo, i % 2, 3, 1, 0});
  }
  return sites;
}

ParallelConfig with_pool(int pool) {
  ParallelConfig config = ParallelConfig::pcpp();
  config.pool = pool;
  return config;
}

std::vector<std::byte> own_rows(const ExchangePlan& plan, int patch, int step, SiteId site) {
  const SitePlan& site_plan = plan.site(site);
  const RowRange owned = site_plan.owned[static_cast<std::size_t>(patch)];
  std::vector<std::byte> data;
  for (std::int64_t branch = 0; branch < plan.batch(); ++branch) {
    for (std::int64_t row = owned.begin; row < owned.end; ++row) {
      data.insert(data.end(), static_cast<std::size_t>(site_plan.row_bytes),
                  value_at(step, site, branch, row));
    }
  }
  return data;
}

ExchangePlan MethodCase::plan() const {
  const Topology topology(ranks, config.guidance, 2, kRows, 4, config.bands);
  return {sites(), topology, config, {kRows, kColumns, 4, 1}};
}

std::vector<MethodCase> method_cases() {
  return {{"single", ParallelConfig::pcpp(), 1},
          {"pcpp_2", ParallelConfig::pcpp(), 2},
          {"pcpp_5", ParallelConfig::pcpp(0.37), 5},
          {"pcpp_0", ParallelConfig::pcpp(0), 3},
          {"pcpp_1", ParallelConfig::pcpp(1), 3},
          {"naive_3", ParallelConfig::naive(), 3},
          {"distrifusion_4", ParallelConfig::distrifusion(), 4},
          {"distrifusion_6", ParallelConfig::distrifusion(), 6},
          {"pooled_1", with_pool(1), 2},
          {"pooled_4", with_pool(4), 4},
          {"pooled_100", with_pool(100), 5},
          {"pcpp_split_6", split(ParallelConfig::pcpp()), 6},
          {"pcpp_bands", with_bands(ParallelConfig::pcpp(0.37), {4, 12, 5}), 3},
          {"pooled_bands", with_bands(with_pool(4), {12, 4, 5}), 3},
          {"distrifusion_bands", with_bands(ParallelConfig::distrifusion(), {12, 4, 5}), 3},
          {"split_bands", split(with_bands(ParallelConfig::pcpp(), {4, 17})), 4},
          {"stale", with_group_norm(GroupNormMode::stale), 3},
          {"local", with_group_norm(GroupNormMode::local), 3},
          {"synchronous", with_group_norm(GroupNormMode::synchronous), 3}};
}

void run_steps(const MethodCase& method, TransportWorld& world) {
  const ExchangePlan plan = method.plan();
  run_ranks(world.hub(), [&](Transport& transport) { RankSteps(plan, transport, world).run(); });
}

}  // namespace pcpp::testing
