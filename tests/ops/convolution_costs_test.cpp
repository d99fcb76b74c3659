#include "ops/convolution_costs.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>

#include "io/files.h"
#include "io/json_file.h"

namespace pcpp {
namespace {

using Json = nlohmann::json;

const ConvolutionShape kShape{.batch = 1, .in = 32, .out = 48, .rows = 6, .columns = 5};

class MeasuredCosts : public ::testing::Test {
 protected:
  std::filesystem::path file() const { return folder_.path() / "new" / "times.json"; }
  double cost(ConvolutionWay way) const { return measured_costs(file(), {kShape})(kShape, way); }
  void write(const std::string& text) const { folder_.write("new/times.json", text); }
  // The times of kShape in the file, for this machine.
  Json times() const {
    const Json machines = read_json_file(file()).at("machines");
    EXPECT_EQ(machines.size(), 1U);
    return machines.front().at("1 x 32 > 48 at 6x5");
  }

  testing::TemporaryFolder folder_;
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

TEST_F(MeasuredCosts, ReplaceWhatIsNoSuchFile) {
  for (const char* text :
       {"", "{", "[]", "{\"format\": \"another\"}", "{\"format\": \"pcpp convolution times 1\"}",
        "{\"format\": \"pcpp convolution times 1\", \"machines\": {\"here\": {\"shape\": [1, 2]}}}",
        "{\"format\": \"pcpp convolution times 1\", \"machines\": {\"here\": {\"shape\": [1, 2, "
        "-3]}}}"}) {
    write(text);
    EXPECT_GT(cost(std::nullopt), 0) << text;
    EXPECT_EQ(times().size(), 3U) << text;
  }
}

TEST_F(MeasuredCosts, AreEstimatesWhereTheyCannotBeKept) {
  std::filesystem::create_directories(file() / "a folder");
  for (const ConvolutionWay way : kConvolutionWays) {
    EXPECT_EQ(cost(way), estimated_cost(kShape, way));
  }
}

}  // namespace
}  // namespace pcpp
