#include "ops/convolution_costs.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <functional>
#include <nlohmann/json.hpp>
#include <optional>
#include <stop_token>
#include <string>
#include <system_error>
#include <vector>

#include "io/files.h"
#include "io/input_file.h"
#include "io/json_file.h"
#include "pcpp/error.h"
#include "support/errors.h"

namespace pcpp {
namespace {

using Json = nlohmann::json;

const ConvolutionShape kShape{.batch = 1, .in = 32, .out = 48, .rows = 6, .columns = 5};

class MeasuredCosts : public ::testing::Test {
 protected:
  std::filesystem::path file() const { return folder_.path() / "times.json"; }
  double cost(ConvolutionWay way) const { return measured_costs(file(), {kShape})(kShape, way); }
  void write(const std::string& text) const { folder_.write("times.json", text); }
  // The times of kShape in a file, for this machine.
  static Json times(const std::filesystem::path& file) {
    const Json machines = read_json_file(file).at("machines");
    EXPECT_EQ(machines.size(), 1U);
    return machines.front().at("1 x 32 > 48 at 6x5");
  }
  Json times() const { return times(file()); }

  testing::TemporaryFolder folder_;
};

// Has the user's cache in the folder.
class DefaultCosts : public MeasuredCosts {
 protected:
  DefaultCosts() {
    const char* before = std::getenv("XDG_CACHE_HOME");
    if (before != nullptr) before_ = before;
    setenv("XDG_CACHE_HOME", folder_.path().c_str(), 1);
  }
  ~DefaultCosts() override {
    before_ ? setenv("XDG_CACHE_HOME", before_->c_str(), 1) : unsetenv("XDG_CACHE_HOME");
  }

  std::optional<std::string> before_;
};

// No files of times, and damaged ones.
const std::vector<std::string> kForeign = {
    "{",
    "[]",
    "\x89PNG",
    "{\"format\": \"another\"}",
    "{\"format\": 1}",
    "{\"format\": \"pcpp convolution times 1\"}",
    "{\"format\": \"pcpp convolution times 1\", \"machines\": 5}",
    "{\"format\": \"pcpp convolution times 1\", \"machines\": {\"here\": [1, 2, 3]}}",
    "{\"format\": \"pcpp convolution times 1\", \"machines\": {\"here\": {\"shape\": \"1\"}}}",
    "{\"format\": \"pcpp convolution times 1\", \"machines\": {\"here\": {\"shape\": [1, 2, 3, "
    "4]}}}",
    "{\"format\": \"pcpp convolution times 1\", \"machines\": {\"here\": {\"shape\": [1, 2, "
    "\"3\"]}}}",
    "{\"format\": \"pcpp convolution times 1\", \"machines\": {\"here\": {\"shape\": [1, 2]}}}",
    "{\"format\": \"pcpp convolution times 1\", \"machines\": {\"here\": {\"shape\": [1, 2, -3]}}}",
};

TEST_F(MeasuredCosts, AreTimedOnceAndKept) {
  const double direct = cost(std::nullopt);
  EXPECT_GT(direct, 0);
  EXPECT_EQ(times().size(), 3U);
  Json content = read_json_file(file());
  content.at("machines").front().at("1 x 32 > 48 at 6x5") = {7.5, 2.5, 3.5};
  write(content.dump());
  EXPECT_EQ(cost(std::nullopt), 7.5);
  EXPECT_EQ(cost(WinogradTile::two), 2.5);
  EXPECT_EQ(cost(WinogradTile::four), 3.5);
}

// Nothing is left to time in the second call, so that the stop has nothing to end.
TEST_F(MeasuredCosts, AStopEndsTheTimingAndKeepsWhatIsKnown) {
  const ConvolutionShape other{.batch = 2, .in = 32, .out = 32, .rows = 4, .columns = 4};
  measured_costs(file(), {other});
  std::stop_source source;
  source.request_stop();
  EXPECT_THROW(measured_costs(file(), {kShape, other}, source.get_token()), Cancelled);
  EXPECT_EQ(read_json_file(file()).at("machines").front().size(), 1U);
  EXPECT_NO_THROW(measured_costs(file(), {other}, source.get_token()));
}

TEST_F(MeasuredCosts, AddToWhatTheFileTells) {
  const ConvolutionShape other{.batch = 2, .in = 32, .out = 32, .rows = 4, .columns = 4};
  measured_costs(file(), {other});
  Json content = read_json_file(file());
  const Json known = content.at("machines").front();
  content.at("machines")["another machine"] = known;
  write(content.dump());
  measured_costs(file(), {kShape, other, kShape});
  const Json machines = read_json_file(file()).at("machines");
  ASSERT_EQ(machines.size(), 2U);
  EXPECT_EQ(machines.at("another machine"), known);
  for (const Json& shapes : machines) {
    EXPECT_EQ(shapes.at("2 x 32 > 32 at 4x4"), known.at("2 x 32 > 32 at 4x4"));
  }
}

TEST_F(MeasuredCosts, LeaveWhatIsNoSuchFileAsItIs) {
  for (const std::string& text : kForeign) {
    write(text);
    for (const auto& call : {std::function<void()>([&] { cost(std::nullopt); }),
                             std::function<void()>([&] { check_convolution_times(file()); })}) {
      testing::expect_error<ConfigError>(
          call, {"convolution times " + file().string(), "is not replaced", "name a new file"});
    }
    EXPECT_EQ(testing::read_text(file()), text);
  }
  EXPECT_EQ(folder_.entry_count(), 1U);
}

TEST_F(MeasuredCosts, NameTheEntryThatIsWrong) {
  const auto refused = [&](const std::string& machines, const std::string& text) {
    write(R"({"format": "pcpp convolution times 1", "machines": )" + machines + "}");
    testing::expect_error<ConfigError>([&] { check_convolution_times(file()); }, {text});
  };
  refused("5", "times.json: machines is 5; it must be an object");
  refused(R"({"here": [1]})", "machines, 'here' is [1]; it must be an object");
  for (const std::string times : {"[1,2]", "[1,2,3,4]", "[1,2,-3]", "[1,2,\"3\"]", "7"}) {
    refused(R"({"here": {"shape": )" + times + "}}",
            "machines, 'here', 'shape' is " + times + "; it must be 3 positive numbers");
  }
}

TEST_F(MeasuredCosts, FillAnEmptyFile) {
  write("");
  check_convolution_times(file());
  EXPECT_GT(cost(std::nullopt), 0);
  EXPECT_EQ(times().size(), 3U);
}

TEST_F(MeasuredCosts, MakeNoFolderForANamedFile) {
  const std::filesystem::path lost = folder_.path() / "new" / "times.json";
  testing::expect_error<ConfigError>([&] { check_convolution_times(lost); },
                                     {lost.string(), "No such file", "a folder that exists"});
  const ConvolutionCosts costs = measured_costs(lost, {kShape});
  EXPECT_EQ(costs(kShape, std::nullopt), estimated_cost(kShape, std::nullopt));
  EXPECT_FALSE(std::filesystem::exists(lost.parent_path()));
}

TEST_F(MeasuredCosts, AreKeptInAFileOfTheFolderThatOneIsIn) {
  const testing::WorkingFolder there(folder_.path());
  check_convolution_times("times.json");
  const ConvolutionCosts costs = measured_costs("times.json", {kShape});
  EXPECT_EQ(costs(kShape, std::nullopt), times().at(0));
}

TEST_F(DefaultCosts, ReplaceADamagedFile) {
  for (const std::string& text : kForeign) {
    folder_.write("libpcpp/convolutions.json", text);
    check_convolution_times(default_convolution_times());
    measured_costs(default_convolution_times(), {kShape});
    EXPECT_EQ(times(folder_.path() / "libpcpp" / "convolutions.json").size(), 3U) << text;
  }
}

TEST_F(DefaultCosts, MakeTheFolder) {
  measured_costs(default_convolution_times(), {kShape});
  EXPECT_EQ(times(folder_.path() / "libpcpp" / "convolutions.json").size(), 3U);
}

TEST_F(DefaultCosts, AreFoundWhereverTheCacheIsSaidToBe) {
  setenv("XDG_CACHE_HOME", (folder_.path() / "." / "cache").c_str(), 1);
  const std::filesystem::path file = from_root(default_convolution_times());
  measured_costs(file, {kShape});
  EXPECT_EQ(times(folder_.path() / "cache" / "libpcpp" / "convolutions.json").size(), 3U);
  folder_.write("cache/libpcpp/convolutions.json", "{");
  EXPECT_NO_THROW(check_convolution_times(file));
  measured_costs(file, {kShape});
  EXPECT_EQ(times(file).size(), 3U);
}

// Of ways to be unreachable these two stop root as well.
TEST_F(DefaultCosts, AreEstimatesWhereTheCacheCannotBeReached) {
  const auto expect_estimates = [](const std::string& cache) {
    setenv("XDG_CACHE_HOME", cache.c_str(), 1);
    const ConvolutionCosts costs = measured_costs(default_convolution_times(), {kShape});
    for (const ConvolutionWay way : kConvolutionWays) {
      EXPECT_EQ(costs(kShape, way), estimated_cost(kShape, way));
    }
  };
  expect_estimates((folder_.path() / std::string(300, 'c')).string());
  std::filesystem::create_directories(folder_.path() / "libpcpp" / "convolutions.json");
  expect_estimates(folder_.path().string());
}

}  // namespace
}  // namespace pcpp
