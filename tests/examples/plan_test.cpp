// `plan` as other programs call it: the names in its JSON, its exit statuses; and `generate` with
// what it planned.

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "examples/parsing.h"
#include "examples/process.h"
#include "io/files.h"
#include "pcpp/pcpp.h"
#include "plan_options.h"

namespace pcpp {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using testing::Outcome;
using testing::run_process;
using Words = std::vector<std::string>;

std::string model() { return (fs::path(PCPP_TEST_DATA) / "models/sd15").string(); }

class PlanTest : public ::testing::Test {
 protected:
  std::string place(const std::string& name) const { return (folder_.path() / name).string(); }
  json read(const std::string& name) const { return json::parse(std::ifstream(place(name))); }
  static Words words(const Words& more) {
    Words words = {PCPP_PLAN, "--model", model()};
    words.insert(words.end(), more.begin(), more.end());
    return words;
  }
  static Outcome plan(const Words& more) { return run_process(words(more)); }
  static Outcome parsed(const Words& more) {
    return testing::run_parser(examples::parse_plan_options, words(more));
  }
  static Outcome generate(const Words& more) {
    Words words = {PCPP_GENERATE, "--model", model(),   "--prompt", "a fox",        "--width", "64",
                   "--height",    "128",     "--steps", "3",        "--sync-steps", "1"};
    words.insert(words.end(), more.begin(), more.end());
    return run_process(words);
  }

  testing::TemporaryFolder folder_;
};

TEST_F(PlanTest, WritesATableAndJson) {
  const Outcome outcome =
      plan({"--size", "64x256", "--devices", "4", "--profile", "a100-nvlink", "--methods",
            "naive,distrifusion,pcpp", "--partial", "0.3,1", "--json", place("plan.json")});
  ASSERT_EQ(outcome.status, 0) << outcome.errors;
  EXPECT_EQ(outcome.output.find("prediction for 64x256 pixels"), 0U);
  const json all = read("plan.json");
  EXPECT_EQ(all.at("prediction"), true);
  EXPECT_EQ(all.at("profile").at("name"), "a100-nvlink");
  EXPECT_EQ(all.at("profile").at("measured"), false);
  const json& runs = all.at("runs");
  EXPECT_EQ(runs[0].at("method"), "single");
  EXPECT_EQ(runs[0].at("flops").at("mean"), runs[0].at("flops").at("slowest"));
  EXPECT_LT(all.at("fastest"), runs.size());
  // Four methods, batched on 2, 3 and 4 ranks and split on 2 and 4, and balanced ones.
  EXPECT_GE(runs.size(), 1U + 4 * 5);
  for (const json& run : runs) {
    for (const char* name :
         {"partial", "ranks", "guidance", "bands", "balanced", "flops", "bytes_per_step",
          "memory_bytes", "fits", "step_ms", "exposed_ms", "speedup"}) {
      EXPECT_TRUE(run.contains(name)) << name;
    }
    EXPECT_GT(run.at("flops").at("mean"), 0);
    EXPECT_GT(run.at("flops").at("slowest"), 0);
    EXPECT_GT(run.at("step_ms"), 0);
  }
}

TEST_F(PlanTest, AMeasuredProfileServesPlan) {
  const Outcome measured = plan({"--size", "64x128", "--measure", place("here.json")});
  ASSERT_EQ(measured.status, 0) << measured.errors;
  EXPECT_EQ(read("here.json").at("measured"), true);
  const Words same = {"--size", "64x128", "--profile", place("here.json")};
  EXPECT_EQ(plan(same).output, measured.output);
}

// A link that is too slow for anything leaves one rank of those asked for, with its threads.
TEST_F(PlanTest, WhatAutoPrintsRepeatsThePicture) {
  ASSERT_EQ(plan({"--size", "64x128", "--measure", place("here.json")}).status, 0);
  json slow = read("here.json");
  slow["link"] = {
      {"name", "slow"}, {"bytes_per_second", 1}, {"latency_seconds", 1}, {"shared", false}};
  std::ofstream(place("slow.json")) << slow;
  for (const std::string profile : {"here.json", "slow.json"}) {
    const Outcome drawn =
        generate({"--ranks", "2", "--threads", "3", "--method", "auto", "--profile", place(profile),
                  "--output", place("auto.png"), "--report", place("report.json")});
    ASSERT_EQ(drawn.status, 0) << drawn.errors;
    const std::string options = read("report.json").at("chosen").at("options");
    EXPECT_NE(drawn.errors.find("auto: " + options + " ("), std::string::npos) << drawn.errors;
    EXPECT_EQ(read("report.json").at("settings").at("profile"), place(profile));
    EXPECT_NE(options.find("--threads 3"), std::string::npos) << options;
    const bool alone = options == "--method single --ranks 1 --threads 3";
    EXPECT_TRUE(alone || profile == "here.json") << options;
    Words again = {"--output", place("again.png"), "--report", place("report.json")};
    std::istringstream words(options);
    for (std::string word; words >> word;) again.push_back(word);
    const Outcome repeated = generate(again);
    ASSERT_EQ(repeated.status, 0) << repeated.errors;
    EXPECT_EQ(read("report.json").at("settings").at("threads"), 3);
    EXPECT_EQ(read_png(place("again.png")).rgb, read_png(place("auto.png")).rgb);
  }
}

TEST_F(PlanTest, ATableThatIsNotPrintedIsAnError) {
  for (const std::string redirection : {">/dev/full", ">&-"}) {
    for (const std::string more : {"--guided=on", "--list-profiles"}) {
      const Outcome outcome = run_process(testing::redirected(
          redirection, {PCPP_PLAN, "--model", model(), "--profile", "a100-nvlink", more}));
      EXPECT_EQ(outcome.status, 1) << redirection << " " << more;
      EXPECT_TRUE(outcome.errors.starts_with("error: the standard output")) << outcome.errors;
    }
  }
  const Outcome cut =
      run_process({"/bin/sh", "-c", R"("$0" --model "$1" --profile a100-nvlink | head -1)",
                   PCPP_PLAN, model()});
  EXPECT_EQ(cut.status, 0);
  EXPECT_EQ(cut.errors, "");
  EXPECT_EQ(std::count(cut.output.begin(), cut.output.end(), '\n'), 1);
}

TEST_F(PlanTest, ListsItsProfiles) {
  const Outcome outcome = plan({"--list-profiles"});
  EXPECT_EQ(outcome.status, 0);
  for (const DeviceProfile& profile : DeviceProfile::known()) {
    EXPECT_NE(outcome.output.find(profile.name + ": "), std::string::npos);
  }
}

TEST_F(PlanTest, CountsControlNets) {
  const auto planned = [&](const Words& more) {
    Words asked = {"--size", "64x256", "--profile", "a100-nvlink", "--json", place("plan.json")};
    asked.insert(asked.end(), more.begin(), more.end());
    const Outcome outcome = plan(asked);
    EXPECT_EQ(outcome.status, 0) << outcome.errors;
    return read("plan.json");
  };
  const std::string net = (fs::path(PCPP_TEST_DATA) / "control/sd15").string();
  const json plain = planned({});
  const json steered = planned({"--controlnet", net, "--controlnet", net + "_bgr"});
  EXPECT_EQ(plain.at("controlnets"), json::array());
  EXPECT_EQ(steered.at("controlnets"), (json{"sd15", "sd15_bgr"}));
  EXPECT_GT(steered.at("runs")[0].at("flops").at("mean"),
            plain.at("runs")[0].at("flops").at("mean"));
}

TEST_F(PlanTest, TakesConfigsOfSingleFilesAlone) {
  const Outcome outcome = plan({"--configs", model(), "--profile", "a100-nvlink"});
  EXPECT_EQ(outcome.status, 1);
  EXPECT_NE(outcome.errors.find("configs are named for a single file"), std::string::npos)
      << outcome.errors;
}

TEST_F(PlanTest, ARepeatedValueIsPlannedOnce) {
  const auto runs = [&](const std::string& methods, const std::string& partials) {
    const Outcome outcome = plan({"--profile", "a100-nvlink", "--methods", methods, "--partial",
                                  partials, "--json", place("plan.json")});
    EXPECT_EQ(outcome.status, 0) << outcome.errors;
    return read("plan.json").at("runs");
  };
  EXPECT_EQ(runs("pcpp,naive,pcpp", "0.3,0.5,0.3"), runs("pcpp,naive", "0.3,0.5"));
}

TEST_F(PlanTest, WrongUsageIsOneLineAndStatusTwo) {
  const std::vector<Words> wrong = {
      {"--nonsense"},
      {"--size", "64xfull"},
      {"--list-profiles=-5"},
      {"--devices", "0"},
      {"--methods", "magic"},
      {"--partial", "1.5"},
      {"--guided", "maybe"},
      {"--images", "-1"},
      {"--dtype", "float16"},
      {"--devices", "999999"},
      {"stray"},
      {"--measure", "x", "--profile", "a100-nvlink"},
      {"--list-profiles", "--json", "x"},
      {"--device", "cuda", "--profile", "a100-nvlink"},
      {"--dtype", "bfloat16", "--profile", "a100-nvlink"},
      {"--threads", "2", "--profile", "a100-nvlink"},
      {"--device", "cuda", "--threads", "2"},
      {"--transport", "nccl"},
  };
  for (const Words& words : wrong) {
    const Outcome outcome = parsed(words);
    EXPECT_EQ(outcome.status, 2) << words.back() << ": " << outcome.errors;
    EXPECT_EQ(std::count(outcome.errors.begin(), outcome.errors.end(), '\n'), 1) << outcome.errors;
    EXPECT_EQ(outcome.output, "");
  }
  EXPECT_EQ(parsed({}).status, testing::kGoesOn);
  const Outcome started = plan(wrong.back());
  EXPECT_EQ(started.status, 2);
  EXPECT_EQ(started.errors, parsed(wrong.back()).errors);
  EXPECT_EQ(run_process({PCPP_PLAN, "--help"}).status, 0);
}

TEST_F(PlanTest, NumbersOutsideTheirBoundsAreNamedWithThem) {
  const std::vector<std::array<std::string, 3>> wrong = {
      {"--images", "0", "whole number from 1 to 1024"},
      {"--devices", "", "whole number from 1 to 1024"},
      {"--threads", "0", "whole number from 1 to 1024"},
      {"--partial", "", "number from 0 to 1"},
      {"--size", "64x16385", "whole number from 1 to 16384"},
      {"--size", "0x64", "whole number from 1 to 16384"},
  };
  for (const auto& [option, value, rule] : wrong) {
    const Outcome outcome = parsed({option, value});
    EXPECT_EQ(outcome.status, 2);
    const std::string part = option == "--size" ? value == "0x64" ? "0" : "16385" : value;
    EXPECT_EQ(outcome.errors,
              "plan: " + option + ": '" + part + "' is not a " + rule + " (see plan --help)\n");
  }
}

TEST_F(PlanTest, OtherFailuresNameTheValueAndLeaveNoFile) {
  std::ofstream(place("broken.json")) << "{\"name\": 7}";
  std::ofstream(place("empty.json")) << "";
  const std::vector<std::pair<Words, std::string>> failing = {
      {{"--model", place("nowhere")}, "nowhere"},
      {{"--size", "100x64"}, "width 100"},
      {{"--profile", "abacus"}, "abacus"},
      {{"--profile", std::string(300, 'x')}, "x: File name too long; name a file"},
      {{"--profile", place("empty.json")}, "empty.json is empty"},
      {{"--profile", place("broken.json")}, "broken.json"},
      {{"--json", place("no/such/plan.json")}, "no/such"},
      {{"--profile", "measured", "--measure", place("plan.json")}, "two outputs"},
      {{"--profile", place("plan.json")}, "an input and for an output"},
  };
  for (const auto& [more, text] : failing) {
    Words words = {"--profile", "a100-nvlink", "--json", place("plan.json")};
    words.insert(words.end(), more.begin(), more.end());
    const Outcome outcome = plan(words);
    EXPECT_EQ(outcome.status, 1) << text << ": " << outcome.errors;
    EXPECT_TRUE(outcome.errors.starts_with("error: ")) << outcome.errors;
    EXPECT_NE(outcome.errors.find(text), std::string::npos) << outcome.errors;
    EXPECT_EQ(std::count(outcome.errors.begin(), outcome.errors.end(), '\n'), 1);
    EXPECT_FALSE(fs::exists(place("plan.json")));
  }
}

}  // namespace
}  // namespace pcpp
