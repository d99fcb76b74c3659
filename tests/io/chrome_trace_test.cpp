#include <gtest/gtest.h>

#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <vector>

#include "io/files.h"
#include "pcpp/error.h"
#include "pcpp/pipeline.h"
#include "pcpp/trace.h"
#include "support/errors.h"

namespace pcpp {
namespace {

using Json = nlohmann::json;

// Two ranks; the first sends two bundles at once, and the gather when one of them has come.
GenerationResult example() {
  GenerationResult result;
  result.ranks.resize(2);
  result.trace.emplace();
  result.trace->parameters = 1234;
  result.trace->convolutions = {{64, 128, 1, "tiles of two", 3}};
  result.trace->ranks.resize(2);
  for (std::size_t rank = 0; rank < 2; ++rank) {
    result.ranks[rank].steps = {{7, StepKind::steady, 0.9, 0.1, {10, 20, 30, 40}}};
    result.ranks[rank].steps.resize(8, result.ranks[rank].steps.front());
    result.trace->ranks[rank].spans = {{"steady step", 0, 7, 1000.0004, 999.9994},
                                       {"unet", 1, 7, 1000.0004, 900},
                                       {"conv_in", 2, 7, 1100, 0.25}};
    result.trace->ranks[rank].waits = {{{-1, "noise", "noise"}, 7, 1900.5, 99}};
  }
  const TraceExchange bundle{12, "conv1", "attn1"};
  result.trace->ranks[0].transfers = {{bundle, {1}, 64, 7, 1200, 600},
                                      {{14, "conv2", "conv2"}, {1}, 32, 7, 1300, 100},
                                      {{-1, "noise", "noise"}, {1}, 16, 7, 1400, 10}};
  result.trace->ranks[1].left_out = 5;
  return result;
}

class ChromeTraceTest : public ::testing::Test {
 protected:
  Json write(const GenerationResult& result,
             const std::map<std::string, std::string>& settings = {}) const {
    const std::filesystem::path path = folder_.path() / "run.json";
    write_chrome_trace(path, result, settings);
    return Json::parse(testing::read_text(path));
  }
  testing::TemporaryFolder folder_;
};

std::vector<Json> of(const Json& file, const std::string& phase, int rank) {
  std::vector<Json> events;
  for (const Json& event : file.at("traceEvents")) {
    if (event.at("ph") == phase && event.at("pid") == rank) events.push_back(event);
  }
  return events;
}

TEST_F(ChromeTraceTest, NamesTheRowsOfEachRank) {
  const Json file = write(example());
  std::map<int, std::string> rows;
  for (const Json& event : of(file, "M", 0)) {
    if (event.at("name") == "thread_name") rows[event.at("tid")] = event.at("args").at("name");
  }
  EXPECT_EQ(rows, (std::map<int, std::string>{
                      {0, "rank 0 compute"}, {1, "rank 0 sends"}, {2, "rank 0 sends"}}));
  EXPECT_EQ(of(file, "M", 1).size(), 2U);
}

TEST_F(ChromeTraceTest, EventsOfARowLieWithinEachOtherOrApart) {
  const Json file = write(example());
  std::map<int, std::vector<double>> open;  // ends, by row
  for (const Json& event : of(file, "X", 0)) {
    const double begin = event.at("ts");
    const double end = begin + event.at("dur").get<double>();
    std::vector<double>& ends = open[event.at("tid")];
    while (!ends.empty() && ends.back() <= begin) ends.pop_back();
    EXPECT_TRUE(ends.empty() || end <= ends.back() + 1e-9) << event;
    ends.push_back(end);
  }
  EXPECT_EQ(open.size(), 3U);
}

TEST_F(ChromeTraceTest, SaysWhatHappened) {
  const Json file = write(example(), {{"method", "pcpp"}, {"broken", "\xFF"}});
  const std::vector<Json> spans = of(file, "X", 0);
  ASSERT_EQ(spans.size(), 7U);
  EXPECT_EQ(spans[0].at("name"), "steady step");
  EXPECT_EQ(spans[0].at("cat"), "step");
  EXPECT_EQ(spans[0].at("args").at("step"), 7);
  EXPECT_EQ(spans[1].at("name"), "unet");
  EXPECT_EQ(spans[2].at("cat"), "part");
  EXPECT_EQ(spans[2].at("ts"), 1100);
  EXPECT_EQ(spans[2].at("dur"), 0.25);
  EXPECT_EQ(spans[3].at("cat"), "wait");
  EXPECT_EQ(spans[3].at("args").at("first_site"), "noise");
  EXPECT_EQ(spans[4].at("name"), "conv1 to attn1");
  EXPECT_EQ(spans[4].at("args"), (Json{{"step", 7},
                                       {"tag", 12},
                                       {"bytes", 64},
                                       {"peers", {1}},
                                       {"first_site", "conv1"},
                                       {"last_site", "attn1"}}));
  EXPECT_EQ(spans[6].at("tid"), 2) << "the first row that is free";
  const std::vector<Json> counters = of(file, "C", 1);
  ASSERT_EQ(counters.size(), 1U);
  EXPECT_EQ(counters[0].at("args").at("halo"), 20);
  const Json& metadata = file.at("otherData");
  EXPECT_EQ(metadata.at("settings").at("method"), "pcpp");
  EXPECT_EQ(metadata.at("version"), "0.1.0");
  EXPECT_EQ(metadata.at("unet_parameters"), 1234);
  EXPECT_EQ(metadata.at("convolutions")[0].at("way"), "tiles of two");
  EXPECT_EQ(metadata.at("left_out"), 5);
}

TEST_F(ChromeTraceTest, CountsTheBytesOfADecodingBehindTheSteps) {
  GenerationResult result = example();
  result.trace->ranks[1].spans.push_back({"decode", 0, 8, 3000, 500});
  result.ranks[1].decode = StepRecord{8, StepKind::synchronous, 0.4, 0.1, {1, 2, 3, 0}};
  const std::vector<Json> counters = of(write(result), "C", 1);
  ASSERT_EQ(counters.size(), 2U);
  EXPECT_EQ(counters[1].at("ts"), 3000);
  EXPECT_EQ(counters[1].at("args").at("halo"), 2);
}

TEST_F(ChromeTraceTest, CountsTheBytesOfAnEncodingAheadOfTheSteps) {
  GenerationResult result = example();
  std::vector<TraceSpan>& spans = result.trace->ranks[1].spans;
  spans.insert(spans.begin(), {"encode", 0, -1, 100, 500});
  result.ranks[1].encode = StepRecord{-1, StepKind::synchronous, 0.4, 0.1, {4, 5, 6, 0}};
  const std::vector<Json> counters = of(write(result), "C", 1);
  ASSERT_EQ(counters.size(), 2U);
  EXPECT_EQ(counters[0].at("ts"), 100);
  EXPECT_EQ(counters[0].at("args").at("halo"), 5);
}

TEST_F(ChromeTraceTest, AFileLargerThanOneBlockIsWhole) {
  GenerationResult result = example();
  std::vector<TraceSpan>& spans = result.trace->ranks[1].spans;
  for (int i = 0; i < 20000; ++i) spans.push_back({"conv_in", 2, 7, 1200 + 0.01 * i, 0.01});
  EXPECT_EQ(of(write(result), "X", 1).size(), 20004U);
}

TEST_F(ChromeTraceTest, RefusesAResultWithoutATraceAndAPlaceThatCannotBeWritten) {
  const std::filesystem::path place = folder_.path() / "x.json";
  testing::expect_error<ConfigError>([&] { write_chrome_trace(place, GenerationResult{}); },
                                     {"GenerationRequest::trace", "x.json"});
  testing::expect_error<OutputError>(
      [&] { write_chrome_trace(folder_.path() / "no/such/x.json", example()); }, {"no/such"});
  for (const auto spoil : std::vector<void (*)(GenerationResult&)>{
           [](GenerationResult& result) { result.ranks.clear(); },
           [](GenerationResult& result) { result.ranks[1].steps.clear(); },
           [](GenerationResult& result) { result.trace->ranks[0].spans[0].step = -1; }}) {
    GenerationResult spoiled = example();
    spoil(spoiled);
    testing::expect_error<ConfigError>([&] { write_chrome_trace(place, spoiled); },
                                       {"x.json", "not of one request"});
  }
  EXPECT_EQ(folder_.entry_count(), 0U);
}

}  // namespace
}  // namespace pcpp
