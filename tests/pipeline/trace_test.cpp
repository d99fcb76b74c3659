// What a traced request says of its ranks, and that it draws nothing else than one that is not.

#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <string>
#include <vector>

#include "pipeline/references.h"

namespace pcpp {
namespace {

constexpr double kRoundingUs = 1e-2;  // of double microseconds, and of nanoseconds after them

struct TraceCase {
  std::string name;
  ParallelConfig config;
  int ranks = 2;

  friend void PrintTo(const TraceCase& value, std::ostream* out) { *out << value.name; }
};

std::vector<TraceCase> cases() {
  ParallelConfig split = ParallelConfig::pcpp();
  split.guidance = Guidance::split;
  split.row_format = RowFormat::int4;
  split.pool = 4;
  return {{"pcpp", ParallelConfig::pcpp(), 3},
          {"distrifusion", ParallelConfig::distrifusion(), 2},
          {"naive", ParallelConfig::naive(), 2},
          {"one", ParallelConfig::pcpp(), 1},
          {"split", split, 4}};
}

class TraceTest : public ::testing::TestWithParam<TraceCase> {
 protected:
  static GenerationRequest request() {
    GenerationRequest request = patch_request("inputs_32x12.safetensors");
    request.steps = 4;
    request.parallel = GetParam().config;
    request.parallel.sync_steps = 2;
    request.trace = true;
    return request;
  }
  static GenerationResult draw(const GenerationRequest& request) {
    return cached_pipeline("patch", GetParam().ranks).generate(request);
  }
};

double end_of(const TraceSpan& span) { return span.begin_us + span.duration_us; }

TEST_P(TraceTest, ChangesNoBitOfThePicture) {
  GenerationRequest plain = request();
  plain.trace = false;
  const GenerationResult expected = draw(plain);
  const GenerationResult traced = draw(request());
  EXPECT_FALSE(expected.trace.has_value());
  ASSERT_EQ(traced.step_latents.size(), expected.step_latents.size());
  for (std::size_t step = 0; step < expected.step_latents.size(); ++step) {
    EXPECT_EQ(traced.step_latents[step].values, expected.step_latents[step].values);
  }
}

TEST_P(TraceTest, SpansLieInEachOtherAndInTheirStep) {
  const GenerationResult result = draw(request());
  ASSERT_EQ(result.trace->ranks.size(), static_cast<std::size_t>(GetParam().ranks));
  for (std::size_t rank = 0; rank < result.trace->ranks.size(); ++rank) {
    const RankTrace& trace = result.trace->ranks[rank];
    EXPECT_EQ(trace.left_out, 0);
    std::vector<const TraceSpan*> open;
    std::vector<double> of_step;
    for (const TraceSpan& span : trace.spans) {
      open.resize(static_cast<std::size_t>(span.depth));
      if (span.depth == 0) {
        EXPECT_EQ(span.step, static_cast<int>(of_step.size()));
        const StepRecord& record = result.ranks[rank].steps[of_step.size()];
        EXPECT_EQ(span.name, std::string(name_of(record.kind)) + " step");
        EXPECT_LE(span.duration_us, 1e3 * (record.compute_ms + record.wait_ms) + kRoundingUs);
        of_step.push_back(0);
      } else {
        const TraceSpan& outer = *open.back();
        EXPECT_GE(span.begin_us, outer.begin_us - kRoundingUs) << span.name;
        EXPECT_LE(end_of(span), end_of(outer) + kRoundingUs) << span.name;
        EXPECT_EQ(span.step, outer.step);
        if (span.depth == 1) of_step.back() += span.duration_us;
      }
      open.push_back(&span);
    }
    ASSERT_EQ(of_step.size(), 4U);
    for (const TraceSpan& span : trace.spans) {
      if (span.depth == 0) {
        EXPECT_LE(of_step[static_cast<std::size_t>(span.step)], span.duration_us + kRoundingUs);
      }
    }
  }
}

TEST_P(TraceTest, EveryStepHasThePartsOfTheNetworkByTheirScopes) {
  const GenerationResult result = draw(request());
  for (const RankTrace& trace : result.trace->ranks) {
    for (int step = 0; step < 4; ++step) {
      for (const char* name :
           {"unet", "conv_in", "down_blocks.0.resnets.0.norm1", "down_blocks.0.resnets.0.conv1",
            "mid_block.attentions.0.transformer_blocks.0.attn1.to_q", "conv_out", "gather",
            "scheduler"}) {
        EXPECT_EQ(std::ranges::count_if(trace.spans,
                                        [&](const TraceSpan& span) {
                                          return span.step == step && span.name == name;
                                        }),
                  1)
            << name << " in step " << step;
      }
    }
  }
}

TEST_P(TraceTest, WaitsOfAStepAddUpToItsRecord) {
  const GenerationResult result = draw(request());
  for (std::size_t rank = 0; rank < result.trace->ranks.size(); ++rank) {
    for (const StepRecord& record : result.ranks[rank].steps) {
      double waited_us = 0;
      for (const TraceWait& wait : result.trace->ranks[rank].waits) {
        if (wait.step != record.step) continue;
        waited_us += wait.duration_us;
        EXPECT_FALSE(wait.exchange.last_site.empty());
      }
      EXPECT_NEAR(waited_us, 1e3 * record.wait_ms, kRoundingUs);
    }
  }
}

TEST_P(TraceTest, EveryExchangeIsThereOnceWithItsBytes) {
  const GenerationResult result = draw(request());
  for (std::size_t rank = 0; rank < result.trace->ranks.size(); ++rank) {
    const RankTrace& trace = result.trace->ranks[rank];
    std::set<std::string> scopes;
    for (const TraceSpan& span : trace.spans) scopes.insert(span.name);
    for (const StepRecord& record : result.ranks[rank].steps) {
      std::int64_t bytes = 0;
      std::set<std::int64_t> tags;
      for (const TraceTransfer& transfer : trace.transfers) {
        if (transfer.step != record.step) continue;
        bytes += transfer.bytes;
        EXPECT_TRUE(tags.insert(transfer.exchange.tag).second) << transfer.exchange.tag;
        EXPECT_FALSE(transfer.peers.empty());
        EXPECT_FALSE(std::ranges::count(transfer.peers, static_cast<int>(rank)));
        EXPECT_GE(transfer.duration_us, 0);
        if (transfer.exchange.tag < 0) continue;
        EXPECT_TRUE(scopes.contains(transfer.exchange.first_site)) << transfer.exchange.first_site;
        EXPECT_TRUE(scopes.contains(transfer.exchange.last_site)) << transfer.exchange.last_site;
      }
      EXPECT_EQ(bytes, record.sent.total());
      EXPECT_EQ(tags.contains(-1), GetParam().ranks > 1) << "the gather";
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Methods, TraceTest, ::testing::ValuesIn(cases()),
                         [](const auto& suite) { return suite.param.name; });

TEST(Trace, DecodingIsOneStepBehindTheLast) {
  GenerationRequest drawn = two_tall_pictures();
  drawn.trace = true;
  const GenerationResult result = cached_pipeline("models/sd15", 3).generate(drawn);
  for (std::size_t rank = 0; rank < 3; ++rank) {
    const RankTrace& trace = result.trace->ranks[rank];
    ASSERT_TRUE(result.ranks[rank].decode.has_value());
    const StepRecord& record = *result.ranks[rank].decode;
    EXPECT_EQ(record.step, 3);
    EXPECT_GT(record.compute_ms, 0);
    std::vector<TraceSpan> of_depth_zero;
    for (const TraceSpan& span : trace.spans) {
      if (span.depth == 0) of_depth_zero.push_back(span);
    }
    ASSERT_EQ(of_depth_zero.size(), 4U);
    EXPECT_EQ(of_depth_zero[3].name, "decode");
    EXPECT_EQ(of_depth_zero[3].step, 3);
    EXPECT_GE(of_depth_zero[3].begin_us, end_of(of_depth_zero[2]));
    EXPECT_EQ(std::ranges::count(trace.spans, "decoder.conv_in", &TraceSpan::name), 2)
        << "once for each picture";
    double waited_us = 0;
    for (const TraceWait& wait : trace.waits) {
      if (wait.step == record.step) waited_us += wait.duration_us;
    }
    EXPECT_NEAR(waited_us, 1e3 * record.wait_ms, kRoundingUs);
    std::int64_t bytes = 0;
    for (const TraceTransfer& transfer : trace.transfers) {
      if (transfer.step != record.step) continue;
      bytes += transfer.bytes;
      EXPECT_TRUE(transfer.exchange.first_site.starts_with("decoder."));
    }
    EXPECT_GT(bytes, 0);
    EXPECT_EQ(bytes, record.sent.total());
  }
}

TEST(Trace, NothingIsRecordedOfADecodingThatWasNotAskedFor) {
  const GenerationResult result =
      cached_pipeline("patch", 1).generate(patch_request("inputs_32x12.safetensors"));
  EXPECT_FALSE(result.ranks.front().decode.has_value());
}

TEST(Trace, TimesCountFromTheRequestsBegin) {
  GenerationRequest request = patch_request("inputs_32x12.safetensors");
  request.trace = true;
  const GenerationResult result = cached_pipeline("patch", 2).generate(request);
  double last_us = 0;
  for (const RankTrace& trace : result.trace->ranks) {
    EXPECT_GT(trace.spans.front().begin_us, 0);
    last_us = std::max(last_us, end_of(trace.spans.back()));
  }
  EXPECT_LT(last_us, 1e6 * result.times.total_seconds);
  EXPECT_GT(last_us, 0);
}

TEST(Trace, TellsTheNetworksSizeAndTheWaysOfItsConvolutions) {
  GenerationRequest request = patch_request("inputs_32x12.safetensors");
  request.steps = 3;
  request.trace = true;
  const GenerationResult result = cached_pipeline("patch", 1).generate(request);
  EXPECT_GT(result.trace->parameters, 0);
  int direct = 0;
  int all = 0;
  for (const TraceConvolutions& shape : result.trace->convolutions) {
    EXPECT_GT(shape.in, 0);
    EXPECT_GT(shape.out, 0);
    all += shape.count;
    if (shape.way == "direct") direct += shape.count;
  }
  EXPECT_EQ(direct, result.convolutions.direct);
  EXPECT_EQ(all - direct, result.convolutions.tiles_of_two + result.convolutions.tiles_of_four);
}

}  // namespace
}  // namespace pcpp
