// `bench_denoise` as other programs call it: the names in its JSON lines, its exit statuses.

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "benchmarks/bench_options.h"
#include "benchmarks/flip.h"
#include "benchmarks/quality.h"
#include "examples/parsing.h"
#include "examples/process.h"
#include "io/files.h"
#include "pcpp/pcpp.h"

namespace pcpp {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using testing::Outcome;
using testing::run_process;
using Words = std::vector<std::string>;

class BenchDenoiseTest : public ::testing::Test {
 protected:
  std::string place(const std::string& name) const { return (folder_.path() / name).string(); }

  static std::string model() { return (fs::path(PCPP_TEST_DATA) / "models/sd15").string(); }

  static Words words(const Words& more) {
    Words words = {PCPP_BENCH_DENOISE, "--model", model(),        "--threads", "1", "--repeat", "1",
                   "--steps",          "4",       "--sync-steps", "1"};
    words.insert(words.end(), more.begin(), more.end());
    return words;
  }
  static Outcome bench(const Words& more) { return run_process(words(more)); }
  static Outcome parsed(const Words& more) {
    return testing::run_parser(benchmarks::parse_command_line, words(more));
  }

  std::vector<json> lines(const std::string& name) const {
    std::ifstream file(place(name));
    std::vector<json> lines;
    for (std::string line; std::getline(file, line);) lines.push_back(json::parse(line));
    return lines;
  }

  testing::TemporaryFolder folder_;
};

TEST_F(BenchDenoiseTest, WritesALineForEachCombination) {
  const Outcome outcome =
      bench({"--methods", "naive,pcpp", "--ranks", "1,2", "--partial", "0.3,0.5", "--size",
             "64x128,64x64", "--json", place("out.jsonl")});
  ASSERT_EQ(outcome.status, 0) << outcome.errors;
  const std::vector<json> all = lines("out.jsonl");
  // One device first, then each with one and two ranks; 64 rows of pixels cannot be cut.
  const std::size_t combinations = (1 + 2 * 3) + (1 + 3);
  ASSERT_EQ(all.size(), 1 + combinations);
  EXPECT_NE(outcome.errors.find("left out: naive, 2 ranks, 64x64"), std::string::npos);
  for (const char* name : {"cpu", "cores", "torch", "scheduler", "steps", "seed"}) {
    EXPECT_TRUE(all[0].at("environment").contains(name)) << name;
  }
  for (std::size_t i = 1; i < all.size(); ++i) {
    const json& line = all[i];
    for (const char* name :
         {"method",         "ranks",      "partial",     "size",      "guidance",
          "sync_steps",     "dtype",      "threads",     "link",      "emulated",
          "seconds",        "step_ms",    "samples",     "speedup",   "wait_ms",
          "bytes_per_step", "peak_bytes", "stale_bytes", "psnr_db",   "ssim",
          "flip",           "seam",       "seam_single", "picture",   "pool",
          "psnr_db_each",   "group_norm", "row_format",  "transport", "cuda_graphs",
          "attention",      "in_turn",    "other_cores", "idle_cores"}) {
      EXPECT_TRUE(line.contains(name)) << name;
    }
    EXPECT_LE(line.at("step_ms").at("p10"), line.at("step_ms").at("median"));
    EXPECT_LE(line.at("step_ms").at("median"), line.at("step_ms").at("p90"));
    EXPECT_GT(line.at("seconds"), 0);
    EXPECT_GT(line.at("peak_bytes"), 0);
    EXPECT_EQ(line.at("samples"), 2);  // of four steps, all but the synchronous and the last
    EXPECT_TRUE(line.at("link").is_null());
    EXPECT_EQ(line.at("emulated"), false);
  }
  const auto rows = std::count(outcome.output.begin(), outcome.output.end(), '\n');
  EXPECT_EQ(static_cast<std::size_t>(rows), 2 + 2 + combinations);  // environment, gap, head
}

TEST_F(BenchDenoiseTest, ReportsWhatIsSentAndWhatItDoesToThePicture) {
  const Outcome outcome = bench({"--ranks", "2", "--size", "64x128", "--guidance", "batched,split",
                                 "--json", place("out.jsonl"), "--trace", place("traces")});
  ASSERT_EQ(outcome.status, 0) << outcome.errors;
  for (const char* name :
       {"single-1-ranks-64x128-batched.json", "pcpp-0.3-2-ranks-64x128-split.json"}) {
    std::ifstream trace(place("traces") + "/" + name);
    EXPECT_TRUE(json::parse(trace).at("otherData").contains("settings")) << name;
  }
  const std::vector<json> all = lines("out.jsonl");
  ASSERT_EQ(all.size(), 6U);
  const json& single = all[1];
  const json& distrifusion = all[2];
  const json& split = all[3];
  const json& pcpp = all[4];
  EXPECT_EQ(single.at("method"), "single");
  EXPECT_EQ(single.at("speedup"), 1);
  EXPECT_TRUE(single.at("psnr_db").is_null());
  EXPECT_EQ(single.at("ssim"), 1);
  EXPECT_TRUE(single.at("seam").is_null());
  EXPECT_EQ(single.at("stale_bytes"), 0);
  for (const char* kind : {"attention", "halo", "group_norm", "gather"}) {
    EXPECT_EQ(single.at("bytes_per_step").at(kind), 0) << kind;
    EXPECT_GT(pcpp.at("bytes_per_step").at(kind), 0) << kind;
  }
  // One band's rows, guided, float32: 4 x 8 x 8 numbers to the other rank, both ways.
  EXPECT_EQ(pcpp.at("bytes_per_step").at("gather"), 2 * 4 * 8 * 8 * 4);
  EXPECT_LT(pcpp.at("bytes_per_step").at("attention"),
            distrifusion.at("bytes_per_step").at("attention"));
  EXPECT_EQ(pcpp.at("bytes_per_step").at("halo"), distrifusion.at("bytes_per_step").at("halo"));
  EXPECT_GT(pcpp.at("psnr_db"), 10);
  EXPECT_LT(pcpp.at("ssim"), 1);
  EXPECT_GT(pcpp.at("seam"), 0);
  EXPECT_EQ(split.at("guidance"), "split");
  EXPECT_EQ(split.at("bytes_per_step").at("halo"), 0);
}

// What all ranks together sent in the first steady step of `bench`'s request, by the library.
SiteBytes steady_bytes(const std::string& model, int ranks, const ParallelConfig& parallel) {
  GenerationRequest request;
  request.prompts = {"a fox"};
  request.width = 64;
  request.height = 128;
  request.steps = 3;
  request.guidance_scale = 3;
  request.parallel = parallel;
  request.parallel.sync_steps = 1;
  request.decode = false;
  Pipeline pipeline(model, World(ranks, 1));
  SiteBytes sum;
  for (const RankReport& rank : pipeline.generate(request).ranks) {
    const SiteBytes& sent = rank.steps[1].sent;
    sum.attention += sent.attention;
    sum.halo += sent.halo;
    sum.group_norm += sent.group_norm;
    sum.gather += sent.gather;
  }
  return sum;
}

TEST_F(BenchDenoiseTest, CountsTheBytesOfEachKindOverAllRanks) {
  const Outcome outcome = bench({"--methods", "distrifusion,pcpp", "--ranks", "2", "--size",
                                 "64x128", "--json", place("out.jsonl")});
  ASSERT_EQ(outcome.status, 0) << outcome.errors;
  const std::vector<json> all = lines("out.jsonl");
  const std::vector<ParallelConfig> methods = {ParallelConfig::distrifusion(),
                                               ParallelConfig::pcpp(0.3)};
  for (std::size_t i = 0; i < methods.size(); ++i) {
    const SiteBytes expected = steady_bytes(model(), 2, methods[i]);
    const json& sent = all.at(2 + i).at("bytes_per_step");
    EXPECT_EQ(sent.at("attention"), expected.attention);
    EXPECT_EQ(sent.at("halo"), expected.halo);
    EXPECT_EQ(sent.at("group_norm"), expected.group_norm);
    EXPECT_EQ(sent.at("gather"), expected.gather);
    EXPECT_NE(expected.halo, expected.group_norm);
  }
}

TEST_F(BenchDenoiseTest, RowsOfFewerBitsSendFewerBytes) {
  std::vector<std::int64_t> sent;
  for (const char* format : {"exact", "int8", "int4"}) {
    const Outcome outcome = bench({"--methods", "pcpp", "--ranks", "2", "--size", "64x128",
                                   "--row-format", format, "--json", place("out.jsonl")});
    ASSERT_EQ(outcome.status, 0) << outcome.errors;
    const json line = lines("out.jsonl").at(2);
    EXPECT_EQ(line.at("row_format"), format);
    sent.push_back(line.at("bytes_per_step").at("attention"));
  }
  EXPECT_LT(sent[1], sent[0]);
  EXPECT_LT(sent[2], sent[1]);
}

TEST_F(BenchDenoiseTest, SavesThePicturesThatItsFiguresAreOf) {
  const Outcome outcome =
      bench({"--methods", "naive,pcpp", "--ranks", "2", "--size", "64x128", "--link", "none,1",
             "--pictures", place("pictures"), "--json", place("out.jsonl")});
  ASSERT_EQ(outcome.status, 0) << outcome.errors;
  const std::vector<json> all = lines("out.jsonl");
  ASSERT_EQ(all.size(), 6U);
  const auto picture = [&](const json& line) {
    return read_png(folder_.path() / "pictures" / line.at("picture").get<std::string>());
  };
  const Image single = picture(all[1]);
  EXPECT_EQ(all[2].at("picture"), all[3].at("picture"));  // over two links
  EXPECT_NE(all[2].at("picture"), all[4].at("picture"));
  for (const std::size_t i : {2U, 4U}) {
    const Image image = picture(all[i]);
    EXPECT_EQ(image.height, 128);
    EXPECT_NEAR(all[i].at("psnr_db"), benchmarks::psnr_db(image, single), 1e-9);
    EXPECT_NEAR(all[i].at("ssim"), benchmarks::ssim(image, single), 1e-9);
    EXPECT_NEAR(all[i].at("flip"), benchmarks::flip(image, single), 1e-9);
    EXPECT_NEAR(all[i].at("seam"), benchmarks::seam(image, {64}), 1e-9);
    EXPECT_NEAR(all[i].at("seam_single"), benchmarks::seam(single, {64}), 1e-9);
  }
  const auto files = std::distance(fs::directory_iterator(folder_.path() / "pictures"), {});
  EXPECT_EQ(files, 3);
}

TEST_F(BenchDenoiseTest, QualityOfSeveralPicturesIsTheirMean) {
  const Outcome outcome =
      bench({"--methods", "pcpp", "--ranks", "2", "--size", "64x128", "--prompt", "a fox, asleep",
             "--prompt", "a fish", "--pictures", place("pictures"), "--json", place("out.jsonl")});
  ASSERT_EQ(outcome.status, 0) << outcome.errors;
  const std::vector<json> all = lines("out.jsonl");
  ASSERT_EQ(all.size(), 3U);
  EXPECT_EQ(all[0].at("environment").at("prompts"), json({"a fox, asleep", "a fish"}));
  const std::string first_name = all[2].at("picture").get<std::string>();
  EXPECT_TRUE(first_name.ends_with("-1.png"));
  const auto picture = [&](std::string name, const std::string& number) {
    return read_png(folder_.path() / "pictures" /
                    name.replace(name.rfind("-1.png"), 2, "-" + number));
  };
  double psnr_db = 0;
  double ssim = 0;
  double flip = 0;
  double seam = 0;
  double seam_single = 0;
  for (const std::size_t i : {0U, 1U}) {
    const std::string number = std::to_string(i + 1);
    const Image single = picture(all[1].at("picture").get<std::string>(), number);
    const Image image = picture(first_name, number);
    EXPECT_NEAR(all[2].at("psnr_db_each").at(i), benchmarks::psnr_db(image, single), 1e-9);
    psnr_db += benchmarks::psnr_db(image, single) / 2;
    ssim += benchmarks::ssim(image, single) / 2;
    flip += benchmarks::flip(image, single) / 2;
    seam += benchmarks::seam(image, {64}) / 2;
    seam_single += benchmarks::seam(single, {64}) / 2;
  }
  EXPECT_NE(all[2].at("psnr_db_each").at(0), all[2].at("psnr_db_each").at(1));
  EXPECT_NEAR(all[2].at("psnr_db"), psnr_db, 1e-9);
  EXPECT_NEAR(all[2].at("ssim"), ssim, 1e-9);
  EXPECT_NEAR(all[2].at("flip"), flip, 1e-9);
  EXPECT_NEAR(all[2].at("seam"), seam, 1e-9);
  EXPECT_NEAR(all[2].at("seam_single"), seam_single, 1e-9);
  EXPECT_TRUE(all[1].at("psnr_db_each").at(1).is_null());
}

// A link delivers no byte early, so a step takes at least what its bytes take one way.
TEST_F(BenchDenoiseTest, EachLineIsMeasuredOverItsOwnLink) {
  const Outcome outcome = bench({"--methods", "pcpp", "--ranks", "2", "--size", "64x128", "--link",
                                 "none,0.0002", "--json", place("out.jsonl")});
  ASSERT_EQ(outcome.status, 0) << outcome.errors;
  const std::vector<json> all = lines("out.jsonl");
  ASSERT_EQ(all.size(), 4U);
  for (std::size_t i = 2; i < all.size(); ++i) {
    const json& line = all[i];
    if (line.at("link").is_null()) continue;
    double bytes = 0;
    for (const json& kind : line.at("bytes_per_step")) bytes += kind.get<double>();
    const double at_least_ms = 1e3 * bytes / 2 / line.at("link_bytes_per_second").get<double>();
    EXPECT_GE(line.at("step_ms").at("median"), 0.99 * at_least_ms) << line.at("link");
    EXPECT_GT(at_least_ms, 100);  // more than the step takes over memory
  }
}

TEST_F(BenchDenoiseTest, LinksAreCalledEmulatedAndChangeNoPicture) {
  const Outcome outcome =
      bench({"--methods", "single,pcpp", "--ranks", "2", "--size", "64x128", "--link",
             "none,ethernet10g,0.01,none", "--shared-link", "--json", place("out.jsonl")});
  ASSERT_EQ(outcome.status, 0) << outcome.errors;
  const std::vector<json> all = lines("out.jsonl");
  ASSERT_EQ(all.size(), 5U);
  EXPECT_TRUE(all[2].at("link").is_null());
  EXPECT_EQ(all[3].at("link"), "ethernet10g");
  EXPECT_EQ(all[3].at("emulated"), true);
  EXPECT_EQ(all[4].at("link_bytes_per_second"), 0.01e9);
  EXPECT_EQ(all[4].at("link_shared"), true);
  EXPECT_EQ(all[2].at("psnr_db"), all[4].at("psnr_db"));
  EXPECT_NE(outcome.output.find("ethernet10g (emulated)"), std::string::npos);
}

TEST_F(BenchDenoiseTest, RanksInTurnHaveNoWaitsNorSecondsOfTheWhole) {
  const Outcome outcome = bench({"--methods", "pcpp", "--ranks", "2", "--size", "64x128",
                                 "--in-turn", "--json", place("out.jsonl")});
  ASSERT_EQ(outcome.status, 0) << outcome.errors;
  const std::vector<json> all = lines("out.jsonl");
  ASSERT_EQ(all.size(), 3U);
  for (std::size_t i = 1; i < all.size(); ++i) {
    EXPECT_EQ(all[i].at("in_turn"), true);
    EXPECT_GT(all[i].at("step_ms").at("median"), 0);
    EXPECT_TRUE(all[i].at("wait_ms").is_null());
    EXPECT_TRUE(all[i].at("seconds").is_null());
  }
}

TEST_F(BenchDenoiseTest, WrongUsageIsOneLineAndStatusTwo) {
  const std::vector<Words> wrong = {
      {"--nonsense"},
      {"--methods", "magic"},
      {"--partial", "1.5"},
      {"--pool", "-1"},
      {"--group-norm", "none"},
      {"--size", "64xfull"},
      {"--size", "64x128,64x16385"},
      {"--in-turn=-5"},
      {"--link", "pigeon"},
      {"--sync-steps", "3"},
      {"--dtype", "float16"},
      {"stray"},
      {"--partial", "nan"},
      {"--sync-steps", "2147483647"},
      {"--in-turn", "--link", "1"},
      {"--in-turn", "--group-norm", "synchronous"},
  };
  for (const Words& words : wrong) {
    const Outcome outcome = parsed(words);
    EXPECT_EQ(outcome.status, 2) << words.back() << ": " << outcome.errors;
    EXPECT_EQ(std::count(outcome.errors.begin(), outcome.errors.end(), '\n'), 1) << outcome.errors;
    EXPECT_EQ(outcome.output, "");
  }
  EXPECT_EQ(parsed({}).status, testing::kGoesOn);
  const Outcome started = bench(wrong.back());
  EXPECT_EQ(started.status, 2);
  EXPECT_EQ(started.errors, parsed(wrong.back()).errors);
  EXPECT_EQ(run_process({PCPP_BENCH_DENOISE, "--help"}).status, 0);
}

TEST_F(BenchDenoiseTest, NumbersOutsideTheirBoundsAreNamedWithThem) {
  const std::vector<std::array<std::string, 3>> wrong = {
      {"--guidance-scale", "-1", "number from 0 to 1000"},
      {"--guidance-scale", "nan", "number from 0 to 1000"},
      {"--guidance-scale", "1001", "number from 0 to 1000"},
      {"--seed", "-1", "whole number from 0 to 18446744073709551615"},
      {"--seed", "0x10", "whole number from 0 to 18446744073709551615"},
      {"--threads", "0", "whole number from 1 to 1024"},
      {"--threads", "1025", "whole number from 1 to 1024"},
      {"--ranks", "1025", "whole number from 1 to 1024"},
  };
  for (const auto& [option, value, rule] : wrong) {
    const Outcome outcome = parsed({option, value});
    EXPECT_EQ(outcome.status, 2);
    EXPECT_EQ(outcome.errors, "bench_denoise: " + option + ": '" + value + "' is not a " + rule +
                                  " (see bench_denoise --help)\n");
  }
}

TEST_F(BenchDenoiseTest, RefusesWhatCannotBeDrawnBeforeItVerifiesAnything) {
  for (const Words& more : {Words{"--steps", "2000"}, Words{"--prompt", "\xFF"}}) {
    const Outcome outcome = bench(more);
    EXPECT_EQ(outcome.status, 1);
    EXPECT_TRUE(outcome.errors.starts_with("error: ")) << outcome.errors;
  }
}

TEST_F(BenchDenoiseTest, OtherFailuresNameTheValueAndLeaveNoFile) {
  const std::vector<std::pair<Words, std::string>> failing = {
      {{"--model", place("nowhere")}, "nowhere"},
      {{"--size", "100x64"}, "100x64"},
      {{"--ranks", "99"}, "--ranks"},
      {{"--prompt", "\xFF"}, "UTF-8"},
      {{"--pictures", "/proc/no/such"},
       "cannot write /proc/no/such: No such file or directory; name"},
      {{"--trace", "/proc/no/such"}, "cannot write /proc/no/such: No such file or directory; name"},
      {{"--bands", "2,3,3"}, "--bands gives 3 heights"},
  };
  for (const auto& [more, text] : failing) {
    Words words = {"--json", place("out.jsonl")};
    words.insert(words.end(), more.begin(), more.end());
    const Outcome outcome = bench(words);
    EXPECT_EQ(outcome.status, 1) << text << ": " << outcome.errors;
    const std::size_t error = outcome.errors.find("error: ");
    ASSERT_NE(error, std::string::npos) << outcome.errors;
    EXPECT_NE(outcome.errors.find(text, error), std::string::npos) << outcome.errors;
    EXPECT_FALSE(fs::exists(place("out.jsonl")));
  }
}

}  // namespace
}  // namespace pcpp
