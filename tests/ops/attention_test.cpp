#include "ops/attention.h"

#include <ATen/Parallel.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/full.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/mean.h>
#include <ATen/ops/softmax.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <tuple>
#include <vector>

#include "support/random_weights.h"
#include "support/run_patches.h"
#include "support/tensors.h"

namespace pcpp {
namespace {

constexpr std::int64_t kWidth = 24;
constexpr std::int64_t kTextWidth = 10;
constexpr std::int64_t kHeads = 3;
constexpr std::int64_t kColumns = 5;  // of the latent
constexpr double kRounding = 1e-6;

RandomWeights attention_weights(std::int64_t key_width) {
  RandomWeights weights(11);
  weights.add("attn.to_q.weight", {kWidth, kWidth});
  weights.add("attn.to_k.weight", {kWidth, key_width});
  weights.add("attn.to_v.weight", {kWidth, key_width});
  weights.add("attn.to_out.0.weight", {kWidth, kWidth});
  weights.add("attn.to_out.0.bias", {kWidth});
  return weights;
}

// [batch, n, width] -> [batch, heads, n, width / heads]
at::Tensor by_head(const at::Tensor& tokens) {
  return tokens.reshape({tokens.size(0), tokens.size(1), kHeads, kWidth / kHeads}).transpose(1, 2);
}

// The definition, in float64: `readers` attend to `read`.
at::Tensor reference(const RandomWeights& weights, const at::Tensor& readers,
                     const at::Tensor& read) {
  const auto project = [&](const at::Tensor& tokens, const std::string& name) {
    return at::linear(tokens.to(at::kDouble), weights.at("attn." + name).to(at::kDouble));
  };
  const at::Tensor query = by_head(project(readers, "to_q.weight"));
  const at::Tensor key = by_head(project(read, "to_k.weight"));
  const at::Tensor value = by_head(project(read, "to_v.weight"));
  const double size = static_cast<double>(kWidth / kHeads);
  const at::Tensor scores = at::matmul(query, key.transpose(2, 3)) / std::sqrt(size);
  const at::Tensor mixed = at::matmul(at::softmax(scores, -1), value).transpose(1, 2);
  return at::linear(mixed.reshape({readers.size(0), readers.size(1), kWidth}),
                    weights.at("attn.to_out.0.weight").to(at::kDouble),
                    weights.at("attn.to_out.0.bias").to(at::kDouble));
}

// latent rows, patches, level.
using SplitParam = std::tuple<std::int64_t, int, int>;

class SplitAttention : public testing::TestWithParam<SplitParam> {
 protected:
  SplitAttention()
      : weights_(attention_weights(kWidth)),
        attention_(weights_.scope().scope("attn"), kWidth, kHeads, level(), sites_) {
    setup_.patches = std::get<1>(GetParam());
    setup_.row_unit = 2;
    setup_.shape = {std::get<0>(GetParam()), kColumns, 4, 2};
    setup_.steps = 3;
    setup_.parallel = ParallelConfig::distrifusion();
    setup_.parallel.sync_steps = 2;
  }

  static int level() { return std::get<2>(GetParam()); }
  static std::int64_t columns() { return rows_at_level(kColumns, level()); }
  at::Tensor tokens(std::uint64_t seed) const {
    const std::int64_t rows = rows_at_level(setup_.shape.latent_rows, level());
    return random_tensor(seed, {2, rows * columns(), kWidth});
  }
  // The bands as intervals of the flattened tokens.
  std::vector<RowRange> bands() const {
    std::vector<RowRange> result;
    for (const RowRange& latent :
         split_rows(setup_.shape.latent_rows, setup_.row_unit, setup_.patches)) {
      const RowRange band = band_at_level(latent, level());
      result.push_back({band.begin * columns(), band.end * columns()});
    }
    return result;
  }
  std::vector<at::Tensor> run(const std::vector<at::Tensor>& inputs) const {
    return run_patches(setup_, sites_, [&](int step, PatchContext& context) {
      return attention_(
          band_tokens(inputs[static_cast<std::size_t>(step)], context, columns(), level()),
          context);
    });
  }
  // Steady: every band attends to its own tokens of `now` between the tokens of `before` in the
  // interval [read.begin, read.end).
  template <typename ReadOf>
  at::Tensor expected_steady(const at::Tensor& before, const at::Tensor& now,
                             const ReadOf& read_of) const {
    std::vector<at::Tensor> parts;
    for (std::size_t i = 0; i < bands().size(); ++i) {
      const RowRange own = bands()[i];
      const RowRange read = read_of(i);
      const at::Tensor fresh = now.narrow(1, own.begin, own.size());
      const at::Tensor all = at::cat({before.narrow(1, read.begin, own.begin - read.begin), fresh,
                                      before.narrow(1, own.end, read.end - own.end)},
                                     1);
      parts.push_back(reference(weights_, fresh, all));
    }
    return at::cat(parts, 1);
  }

  RandomWeights weights_;
  SiteRegistry sites_;
  SelfAttention attention_;
  PatchSetup setup_;
};

TEST_P(SplitAttention, SynchronousStepsEqualTheWhole) {
  ParallelConfig pooled = ParallelConfig::pcpp();
  pooled.pool = 3;
  for (const ParallelConfig& config :
       {ParallelConfig::distrifusion(), ParallelConfig::pcpp(), pooled}) {
    setup_.parallel = config;
    setup_.parallel.sync_steps = 2;
    const std::vector<at::Tensor> inputs = {tokens(1), tokens(2), tokens(2)};
    const std::vector<at::Tensor> results = run(inputs);
    for (std::size_t step = 0; step < 2; ++step) {
      EXPECT_LT(relative_error(results[step], reference(weights_, inputs[step], inputs[step])),
                kRounding);
    }
  }
}

TEST_P(SplitAttention, SteadyEqualsSynchronousWhereNothingMoved) {
  const std::vector<at::Tensor> results = run({tokens(1), tokens(2), tokens(2)});
  EXPECT_TRUE(at::equal(results[2], results[1]));
}

TEST_P(SplitAttention, ReachAllReadsAllTokensOfTheStepBefore) {
  const at::Tensor before = tokens(2);
  const at::Tensor now = tokens(3);
  const RowRange everything{0, now.size(1)};
  const at::Tensor expected = expected_steady(before, now, [&](std::size_t) { return everything; });
  EXPECT_LT(relative_error(run({tokens(1), before, now})[2], expected), kRounding);
}

// [floor(a - p L_above), floor(b + p L_below)), of ParallelConfig::partial, with p in tenths.
TEST_P(SplitAttention, ReachAdjacentReadsThePartialInterval) {
  const at::Tensor before = tokens(2);
  const at::Tensor now = tokens(3);
  for (const std::int64_t tenths : {0, 3, 5, 10}) {
    setup_.parallel = ParallelConfig::pcpp(static_cast<double>(tenths) / 10);
    setup_.parallel.sync_steps = 2;
    const auto read_of = [&](std::size_t i) {
      const std::vector<RowRange> all = bands();
      RowRange read = all[i];
      if (i > 0) read.begin = (10 * read.begin - tenths * all[i - 1].size()) / 10;
      if (i + 1 < all.size()) read.end = (10 * read.end + tenths * all[i + 1].size()) / 10;
      return read;
    };
    const at::Tensor expected = expected_steady(before, now, read_of);
    EXPECT_LT(relative_error(run({tokens(1), before, now})[2], expected), kRounding) << tenths;
  }
}

TEST_P(SplitAttention, APoolOfOneTokenIsThatToken) {
  const at::Tensor before = tokens(2);
  const at::Tensor now = tokens(3);
  const RowRange everything{0, now.size(1)};
  const at::Tensor expected = expected_steady(before, now, [&](std::size_t) { return everything; });
  for (const double partial : {0.0, 0.3, 1.0}) {
    setup_.parallel = ParallelConfig::pcpp(partial);
    setup_.parallel.pool = 1;
    setup_.parallel.sync_steps = 2;
    EXPECT_LT(relative_error(run({tokens(1), before, now})[2], expected), kRounding) << partial;
  }
}

// Keys and values are linear in the tokens, and a score that counts m times is that of m equal
// tokens: so every unread token is as good as its pool's mean.
TEST_P(SplitAttention, PooledTokensStandForTheUnread) {
  constexpr std::int64_t kTenths = 3;
  const at::Tensor before = tokens(2);
  const at::Tensor now = tokens(3);
  const std::vector<RowRange> all = bands();
  for (const std::int64_t pool : {2, 7, 1000}) {
    setup_.parallel = ParallelConfig::pcpp(kTenths / 10.0);
    setup_.parallel.pool = static_cast<int>(pool);
    setup_.parallel.sync_steps = 2;
    const at::Tensor means = before.clone();
    for (const RowRange& band : all) {
      for (std::int64_t begin = band.begin; begin < band.end; begin += pool) {
        const std::int64_t count = std::min(pool, band.end - begin);
        means.narrow(1, begin, count).copy_(before.narrow(1, begin, count).mean(1, true));
      }
    }
    std::vector<at::Tensor> parts;
    for (std::size_t i = 0; i < all.size(); ++i) {
      at::Tensor read = means.clone();
      const auto give = [&](const at::Tensor& from, std::int64_t begin, std::int64_t end) {
        read.slice(1, begin, end).copy_(from.slice(1, begin, end));
      };
      give(now, all[i].begin, all[i].end);
      if (i > 0) {
        give(before, (10 * all[i].begin - kTenths * all[i - 1].size()) / 10, all[i].begin);
      }
      if (i + 1 < all.size()) {
        give(before, all[i].end, (10 * all[i].end + kTenths * all[i + 1].size()) / 10);
      }
      parts.push_back(reference(weights_, now.slice(1, all[i].begin, all[i].end), read));
    }
    EXPECT_LT(relative_error(run({tokens(1), before, now})[2], at::cat(parts, 1)), kRounding)
        << pool;
  }
}

TEST_P(SplitAttention, ReachNoneAttendsToTheOwnBandAlone) {
  setup_.parallel = ParallelConfig::naive();
  const at::Tensor now = tokens(3);
  const at::Tensor expected = expected_steady(now, now, [&](std::size_t i) { return bands()[i]; });
  for (const at::Tensor& result : run({now, now, now})) {
    EXPECT_LT(relative_error(result, expected), kRounding);
  }
}

INSTANTIATE_TEST_SUITE_P(Heights, SplitAttention,
                         testing::Combine(testing::Values(14, 16, 17, 23),
                                          testing::Values(1, 2, 3, 4, 5, 7),
                                          testing::Values(0, 1)));

TEST(SelfAttention, WholeImageEqualsTheDefinition) {
  const RandomWeights weights = attention_weights(kWidth);
  SiteRegistry sites;
  const SelfAttention attention(weights.scope().scope("attn"), kWidth, kHeads, 2, sites);
  const at::Tensor tokens = random_tensor(4, {2, 33, kWidth});
  PatchContext whole;
  EXPECT_LT(relative_error(attention(tokens, whole), reference(weights, tokens, tokens)),
            kRounding);
  ASSERT_EQ(sites.sites().size(), 2U);
  EXPECT_EQ(sites.sites()[0].kind, SiteKind::pooled);
  EXPECT_EQ(sites.sites()[1].kind, SiteKind::attention);
  for (const Site& site : sites.sites()) {
    EXPECT_EQ(site.name, "attn");
    EXPECT_EQ(site.level, 2);
    EXPECT_EQ(site.width, 2 * kWidth);
  }
}

TEST(CrossAttention, ReadsTheTextThatTheRequestBeganWith) {
  const RandomWeights weights = attention_weights(kTextWidth);
  SiteRegistry sites;
  const CrossAttention attention(weights.scope().scope("attn"), kWidth, kTextWidth, kHeads, sites);
  EXPECT_TRUE(sites.sites().empty());
  EXPECT_EQ(sites.condition_slots(), 1);
  const at::Tensor tokens = random_tensor(5, {2, 33, kWidth});
  const at::Tensor text = random_tensor(6, {2, 7, kTextWidth});
  PatchContext whole(sites.condition_slots());
  const at::Tensor expected = reference(weights, tokens, text);
  EXPECT_LT(relative_error(attention(tokens, text, whole), expected), kRounding);
  EXPECT_TRUE(whole.condition_slot(0).defined());
  EXPECT_LT(relative_error(attention(tokens, text * 2, whole), expected), kRounding);
  PatchContext next(sites.condition_slots());
  EXPECT_LT(relative_error(attention(tokens, text * 2, next), reference(weights, tokens, text * 2)),
            kRounding);
}

TEST(SelfAttention, Bfloat16IsWithinItsRounding) {
  const RandomWeights weights = attention_weights(kWidth);
  SiteRegistry sites;
  const SelfAttention attention(weights.scope(at::kBFloat16).scope("attn"), kWidth, kHeads, 0,
                                sites);
  const at::Tensor tokens = random_tensor(4, {2, 33, kWidth});
  PatchContext whole;
  EXPECT_LT(relative_error(attention(tokens.to(at::kBFloat16), whole),
                           reference(weights, tokens, tokens)),
            2e-2);
}

// heads, size, type, relative bound.
using AttendParam = std::tuple<std::int64_t, std::int64_t, at::ScalarType, double>;

class Attend : public testing::TestWithParam<AttendParam> {
 protected:
  static std::int64_t heads() { return std::get<0>(GetParam()); }
  static std::int64_t width() { return heads() * std::get<1>(GetParam()); }
  static double bound() { return std::get<3>(GetParam()); }
  static at::Tensor rows(std::uint64_t seed, std::int64_t count, std::int64_t elements) {
    return random_tensor(seed, {2, count, elements}).to(std::get<2>(GetParam()));
  }

  static at::Tensor heads_of(const at::Tensor& tokens) {
    return tokens.to(at::kDouble).unflatten(2, {heads(), -1}).transpose(1, 2);
  }
  // The definition, in float64, over the segments joined.
  static at::Tensor expected(const at::Tensor& query, const std::vector<KeyValues>& segments) {
    std::vector<at::Tensor> rows;
    std::vector<at::Tensor> weights;
    for (const KeyValues& segment : segments) {
      rows.push_back(segment.rows);
      weights.push_back(at::full({segment.rows.size(1)}, segment.log_weight, at::kDouble));
    }
    const std::vector<at::Tensor> parts = at::cat(rows, 1).chunk(2, 2);
    const double size = static_cast<double>(std::get<1>(GetParam()));
    const at::Tensor scores =
        at::matmul(heads_of(query), heads_of(parts[0]).transpose(2, 3)) / std::sqrt(size) +
        at::cat(weights);
    return at::matmul(at::softmax(scores, -1), heads_of(parts[1])).transpose(1, 2).flatten(2);
  }
};

TEST_P(Attend, SegmentsEqualTheirConcatenation) {
  const at::Tensor query = rows(1, 150, width());
  const at::Tensor all = rows(2, 300, 2 * width());
  const std::vector<std::vector<std::int64_t>> cuts = {
      {300}, {0, 300}, {77, 223}, {1, 298, 1}, {130, 0, 170}};
  for (const std::vector<std::int64_t>& cut : cuts) {
    std::vector<KeyValues> segments;
    std::int64_t first = 0;
    for (const std::int64_t count : cut) {
      segments.push_back({all.narrow(1, first, count)});
      first += count;
    }
    EXPECT_LT(relative_error(attend(query, segments, heads()), expected(query, {{all}})), bound());
  }
}

TEST_P(Attend, ATokenWithLogWeightCountsForSeveral) {
  const at::Tensor query = rows(3, 40, width());
  const at::Tensor near = rows(4, 50, 2 * width());
  const at::Tensor far = rows(5, 3, 2 * width());
  const std::vector<KeyValues> weighted = {{near}, {far, std::log(7.0F)}};
  const at::Tensor result = attend(query, weighted, heads());
  EXPECT_LT(relative_error(result, expected(query, weighted)), bound());
  EXPECT_LT(relative_error(result, expected(query, {{near}, {far.repeat({1, 7, 1})}})), bound());
}

TEST_P(Attend, IsTheSameForAnyNumberOfThreads) {
  const at::Tensor query = rows(6, 300, width());
  const std::vector<KeyValues> segments = {{rows(7, 200, 2 * width())}, {rows(8, 90, 2 * width())}};
  const int before = at::get_num_threads();
  at::set_num_threads(1);
  const at::Tensor one = attend(query, segments, heads());
  for (const int threads : {2, 3}) {
    at::set_num_threads(threads);
    EXPECT_TRUE(at::equal(attend(query, segments, heads()), one)) << threads;
  }
  at::set_num_threads(before);
}

TEST_P(Attend, ABandIsTheSameWhereverItBegins) {
  const at::Tensor query = rows(9, 300, width());
  const std::vector<KeyValues> segments = {{rows(10, 100, 2 * width())}};
  const at::Tensor whole = attend(query, segments, heads());
  const at::Tensor band = attend(query.narrow(1, 77, 150), segments, heads());
  EXPECT_TRUE(at::equal(band, whole.narrow(1, 77, 150)));
}

// Rows of a wider tensor, as a product of queries, keys and values together leaves them.
TEST_P(Attend, ReadsRowsThatAreApart) {
  const at::Tensor joined = rows(11, 70, 3 * width());
  const at::Tensor query = joined.narrow(2, 0, width());
  const std::vector<KeyValues> segments = {{joined.narrow(2, width(), 2 * width())}};
  EXPECT_LT(relative_error(attend(query, segments, heads()), expected(query, segments)), bound());
}

INSTANTIATE_TEST_SUITE_P(
    Sizes, Attend,
    testing::Values(AttendParam{8, 40, at::kFloat, 1e-6}, AttendParam{3, 64, at::kFloat, 1e-6},
                    AttendParam{2, 80, at::kFloat, 1e-6}, AttendParam{1, 512, at::kFloat, 1e-6},
                    AttendParam{5, 7, at::kFloat, 1e-6}, AttendParam{8, 40, at::kBFloat16, 4e-3},
                    AttendParam{3, 64, at::kBFloat16, 4e-3},
                    AttendParam{2, 160, at::kBFloat16, 4e-3}));

TEST(AttendChecks, RefusesWhatItCannotRead) {
  const at::Tensor query = random_tensor(1, {1, 4, 8});
  const at::Tensor rows = random_tensor(2, {1, 4, 16});
  EXPECT_THROW(attend(query, {}, 2), std::logic_error);
  EXPECT_THROW(attend(query, {{rows.narrow(1, 0, 0)}}, 2), std::logic_error);
  EXPECT_THROW(attend(query, {{rows.narrow(2, 0, 8)}}, 2), std::logic_error);
  EXPECT_THROW(attend(query, {{rows.to(at::kBFloat16)}}, 2), std::logic_error);
  EXPECT_THROW(attend(query, {{rows}}, 3), std::logic_error);
  EXPECT_THROW(attend(query.to(at::kDouble), {{rows.to(at::kDouble)}}, 2), std::logic_error);
}

}  // namespace
}  // namespace pcpp
