// Profiles as files: what is written is read, and what is not a profile is refused.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>

#include "io/files.h"
#include "io/json_file.h"
#include "pcpp/error.h"
#include "pcpp/plan.h"
#include "planner/configs.h"
#include "support/errors.h"

namespace pcpp {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

class ProfileFileTest : public ::testing::Test {
 protected:
  fs::path file() const { return folder_.path() / "profile.json"; }
  void expect_refused(const std::string& text, const std::string& part) const {
    std::ofstream(file()) << text;
    testing::expect_error<CheckpointError>([&] { DeviceProfile::load(file()); }, {part});
  }

  testing::TemporaryFolder folder_;
};

TEST_F(ProfileFileTest, ComesBackAsItWas) {
  DeviceProfile profile = counting_profile();
  profile.measured = true;
  profile.dtype = DataType::bfloat16;
  profile.memory_bytes = 80000000000;
  profile.extra_weight_bytes = 1250000000;
  profile.link = Link{"wire", 1.25e9, 2e-6, true};
  profile.curves.push_back({WorkKind::exchange, "a \"shape\"", 3, {{0.5, 0.1}, {2, 0.30000001}}});
  profile.save(file());
  const DeviceProfile read = DeviceProfile::load(file());
  EXPECT_EQ(read.name, profile.name);
  EXPECT_EQ(read.source, profile.source);
  EXPECT_TRUE(read.measured);
  EXPECT_EQ(read.dtype, profile.dtype);
  EXPECT_EQ(read.memory_bytes, profile.memory_bytes);
  EXPECT_EQ(read.extra_weight_bytes, profile.extra_weight_bytes);
  ASSERT_TRUE(read.link);
  EXPECT_EQ(read.link->bytes_per_second, 1.25e9);
  EXPECT_TRUE(read.link->shared);
  ASSERT_EQ(read.curves.size(), profile.curves.size());
  const RateCurve& last = read.curves.back();
  EXPECT_EQ(last.kind, WorkKind::exchange);
  EXPECT_EQ(last.shape, "a \"shape\"");
  EXPECT_EQ(last.devices, 3);
  EXPECT_EQ(last.points[1].work, 2);
  EXPECT_EQ(last.points[1].seconds, 0.30000001);
}

TEST_F(ProfileFileTest, EveryTypeComesBack) {
  DeviceProfile profile = counting_profile();
  for (const DataType dtype : {DataType::float32, DataType::float16, DataType::bfloat16}) {
    profile.dtype = dtype;
    profile.save(file());
    EXPECT_EQ(DeviceProfile::load(file()).dtype, dtype);
  }
}

TEST_F(ProfileFileTest, TakesCurvesOfAsManyDevicesAsThereCanBe) {
  DeviceProfile profile = counting_profile();
  profile.curves.back().devices = World::kMostRanks;
  profile.save(file());
  EXPECT_EQ(DeviceProfile::load(file()).curves.back().devices, World::kMostRanks);
}

TEST_F(ProfileFileTest, RefusesWhatIsNoProfileAndNamesIt) {
  counting_profile().save(file());
  const json good = json::parse(std::ifstream(file()));
  EXPECT_NO_THROW(DeviceProfile::load(file()));
  expect_refused("not JSON", "profile.json");
  expect_refused("[]", "profile.json");
  const std::vector<std::pair<std::string, std::function<void(json&)>>> spoils = {
      {"dtype", [](json& j) { j["dtype"] = "float64"; }},
      {"memory_bytes", [](json& j) { j["memory_bytes"] = -1; }},
      {"extra_weight_bytes", [](json& j) { j["extra_weight_bytes"] = -1; }},
      {"extra_weight_bytes", [](json& j) { j["extra_weight_bytes"] = INT64_MAX; }},
      {"1e+308 seconds for work",
       [](json& j) {
         j["curves"][0]["work"] = {1};
         j["curves"][0]["seconds"] = {1e308};
       }},
      {"curves", [](json& j) { j["curves"] = 7; }},
      {"name", [](json& j) { j.erase("name"); }},
      {"surplus", [](json& j) { j["surplus"] = 1; }},
      {"kind", [](json& j) { j["curves"][0]["kind"] = "magic"; }},
      {"0 devices", [](json& j) { j["curves"][0]["devices"] = 0; }},
      {"work",
       [](json& j) {
         j["curves"][0]["work"] = {1, 1};
       }},
      {"work", [](json& j) { j["curves"][0]["work"] = json::array(); }},
      {"work", [](json& j) { j["curves"][0]["seconds"] = {"fast"}; }},
      {"-1 seconds for work 2",
       [](json& j) {
         j["curves"][0]["work"] = {1, 2};
         j["curves"][0]["seconds"] = {0, -1};
       }},
      {"a latency of -1 s is outside [0, 60]",
       [](json& j) {
         j["link"] = {
             {"name", "w"}, {"bytes_per_second", 1}, {"latency_seconds", -1}, {"shared", false}};
       }},
      {"0 bytes a second",
       [](json& j) {
         j["link"] = {
             {"name", "w"}, {"bytes_per_second", 0}, {"latency_seconds", 0}, {"shared", false}};
       }},
  };
  for (const auto& [name, spoil] : spoils) {
    json spoiled = good;
    spoil(spoiled);
    expect_refused(spoiled.dump(), name == "work" ? "curve 0" : name);
  }
}

TEST_F(ProfileFileTest, ErrorsQuoteItInPart) {
  DeviceProfile profile = counting_profile();
  profile.name = std::string(100'000, 'x') + "\n\x1b";
  profile.save(file());
  json spoiled = read_json_file(file());
  spoiled["memory_bytes"] = -1;
  folder_.write("profile.json", spoiled.dump());
  testing::expect_short_error<CheckpointError>([&] { DeviceProfile::load(file()); });
}

TEST(ProfileFiles, WhatCouldNotBeReadAgainIsNotWritten) {
  const testing::TemporaryFolder folder;
  testing::expect_error<ConfigError>([&] { DeviceProfile().save(folder.path() / "p.json"); },
                                     {"has no curve"});
  DeviceProfile cast = counting_profile();
  cast.curves[0].kind = static_cast<WorkKind>(99);
  testing::expect_error<ConfigError>([&] { cast.save(folder.path() / "p.json"); }, {"kind is 99"});
  cast = counting_profile();
  cast.dtype = static_cast<DataType>(99);
  testing::expect_error<ConfigError>([&] { cast.save(folder.path() / "p.json"); }, {"dtype is 99"});
  EXPECT_EQ(folder.entry_count(), 0U);
}

TEST(ProfileFiles, AFolderThatIsNotThereIsAnErrorOfItsFile) {
  testing::expect_error<OutputError>([] { counting_profile().save("no_such_folder/p.json"); },
                                     {"no_such_folder"});
}

TEST(NamedProfiles, AreFoundByNameAndSayWhatTheyAre) {
  for (const DeviceProfile& profile : DeviceProfile::known()) {
    EXPECT_EQ(DeviceProfile::named(profile.name).name, profile.name);
    EXPECT_FALSE(profile.measured);
    EXPECT_FALSE(profile.source.empty());
    EXPECT_TRUE(profile.link);
  }
  EXPECT_THROW(DeviceProfile::named("abacus"), ConfigError);
}

}  // namespace
}  // namespace pcpp
