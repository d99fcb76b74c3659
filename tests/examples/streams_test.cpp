// What `generate` tells and is told beside its options: the log, full and closed streams, signals.

#include <gtest/gtest.h>
#include <signal.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>

#include "examples/generate_runs.h"
#include "pcpp/pcpp.h"

namespace pcpp {
namespace {

using StreamsTest = GenerateRuns;

long occurrences(const std::string& text, const std::string& part) {
  long found = 0;
  for (std::size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) {
    ++found;
  }
  return found;
}

// The class is one that the library warns of.
TEST_F(StreamsTest, LogsWhatTheEnvironmentAsksFor) {
  fs::copy(data("models/sd15"), place("model"), fs::copy_options::recursive);
  nlohmann::json index = nlohmann::json::parse(std::ifstream(place("model/model_index.json")));
  index["_class_name"] = "StableDiffusionOtherPipeline";
  folder_.write("model/model_index.json", index.dump());
  const Words drawn = words({"--model", place("model"), "--prompt", "a fox", "--steps", "1",
                             "--method", "single", "--output", "none"});
  const auto logged = [&](const std::string& setting) {
    Words all = {"/usr/bin/env", setting};
    all.insert(all.end(), drawn.begin(), drawn.end());
    const Outcome outcome = run_process(all);
    EXPECT_EQ(outcome.status, 0) << outcome.errors;
    return outcome.errors;
  };
  const auto expect_lines = [](const std::string& text, long warnings, bool informs) {
    EXPECT_EQ(occurrences(text, "[pcpp] [warning]"), warnings) << text;
    EXPECT_EQ(occurrences(text, "[pcpp] [info]") > 0, informs) << text;
    EXPECT_EQ(occurrences(text, "[pcpp]"), warnings + occurrences(text, "[pcpp] [info]")) << text;
  };
  const std::string usual = logged("PCPP_LOG=warning");
  expect_lines(usual, 1, false);
  EXPECT_EQ(occurrences(usual, "StableDiffusionOtherPipeline is not built in"), 1) << usual;
  expect_lines(logged("PCPP_LOG=info"), 1, true);
  expect_lines(logged("PCPP_LOG=off"), 0, false);
  const std::string other = logged("PCPP_LOG=loud");
  expect_lines(other, 2, false);
  EXPECT_EQ(occurrences(other, "PCPP_LOG is 'loud'"), 1) << other;
}

TEST_F(StreamsTest, AFullOrClosedStandardErrorEndsNoRun) {
  for (const std::string redirection : {"2>/dev/full", "2>&-", "2>&- <&-"}) {
    const Words drawn =
        words({"--prompt", "a fox", "--output", place("x.png"), "--report", place("x.json")});
    EXPECT_EQ(run_process(testing::redirected(redirection, drawn)).status, 0) << redirection;
    EXPECT_EQ(files(), (Words{"x.json", "x.png"}));
    EXPECT_EQ(read_png(place("x.png")).width, 64);
    EXPECT_TRUE(nlohmann::json::accept(std::ifstream(place("x.json"))));
    for (const std::string& file : files()) fs::remove(place(file));
    const Words failing = words({"--prompt", "a fox", "--output", "/proc/x.png"});
    EXPECT_EQ(run_process(testing::redirected(redirection, failing)).status, 1) << redirection;
    EXPECT_EQ(run_process(testing::redirected(redirection, {PCPP_GENERATE})).status, 2);
  }
}

TEST_F(StreamsTest, AReaderThatLeavesEndsNoRun) {
  const Words drawn = words({"--prompt", "a fox", "--output", place("x.png"), "--report",
                             place("x.json"), "--save-latents", place("x.safetensors")});
  Words piped = {"/bin/sh", "-c", "\"$0\" \"$@\" 2>&1 >/dev/null | :"};
  piped.insert(piped.end(), drawn.begin(), drawn.end());
  run_process(piped);
  EXPECT_EQ(files(), (Words{"x.json", "x.png", "x.safetensors"}));
}

TEST_F(StreamsTest, WhatTheStandardOutputLacksIsAnError) {
  for (const std::string redirection : {">/dev/full", ">&-"}) {
    const Outcome outcome = run_process(testing::redirected(
        redirection,
        words({"--prompt", "a fox", "--images", "2", "--steps", "2", "--output", place("x.png")})));
    EXPECT_EQ(outcome.status, 1) << redirection;
    EXPECT_NE(outcome.errors.find("error: the standard output"), std::string::npos);
    EXPECT_EQ(files(), (Words{"x-1.png", "x-2.png"}));
    for (const std::string& file : files()) fs::remove(place(file));
    EXPECT_EQ(run_process(testing::redirected(redirection, {PCPP_GENERATE, "--help"})).status, 1);
  }
}

TEST_F(StreamsTest, ALimitOnTheSizeOfFilesIsAnErrorAndLeavesNone) {
  Words limited = {"/bin/sh", "-c", "ulimit -f 1 && exec \"$0\" \"$@\""};
  const Words drawn = words({"--prompt", "a fox", "--steps", "1", "--output", place("x.png"),
                             "--convolution-times", "none"});
  limited.insert(limited.end(), drawn.begin(), drawn.end());
  const Outcome outcome = run_process(limited);
  EXPECT_EQ(outcome.status, 1) << outcome.errors;
  EXPECT_NE(outcome.errors.find("x.png: File too large; name a place"), std::string::npos)
      << outcome.errors;
  EXPECT_TRUE(files().empty());
}

// Sends `signal` after the second step.
Outcome interrupt(const Words& words, int signal) {
  bool sent = false;
  const Outcome outcome = run_process(words, [&](int process, const std::string& errors) {
    if (sent || errors.find("step 2/") == std::string::npos) return;
    sent = kill(process, signal) == 0;
  });
  EXPECT_TRUE(sent);
  return outcome;
}

TEST_F(StreamsTest, AnInterruptEndsTheRunWithoutAFile) {
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) {
    const Outcome outcome =
        interrupt(words({"--prompt", "a fox", "--steps", "900", "--output", place("x.png"),
                         "--ranks", "2", "--trace", place("x.json")}),
                  signal);
    EXPECT_EQ(outcome.status, 130);
    EXPECT_NE(outcome.errors.find("cancelled\n"), std::string::npos) << outcome.errors;
    EXPECT_EQ(outcome.errors.find("step 900/"), std::string::npos);
    EXPECT_TRUE(files().empty());
  }
}

// As nohup has it.
TEST_F(StreamsTest, ASignalThatIsIgnoredFromTheStartEndsNothing) {
  const auto before = signal(SIGHUP, SIG_IGN);
  const Outcome outcome =
      interrupt(words({"--prompt", "a fox", "--steps", "40", "--output", place("x.png")}), SIGHUP);
  signal(SIGHUP, before);
  EXPECT_EQ(outcome.status, 0) << outcome.errors;
  EXPECT_EQ(files(), Words{"x.png"});
}

}  // namespace
}  // namespace pcpp
