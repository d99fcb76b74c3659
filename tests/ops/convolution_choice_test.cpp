#include "ops/convolution_choice.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <vector>

#include "io/files.h"
#include "io/json_file.h"
#include "ops/conv2d.h"
#include "support/random_weights.h"
#include "support/tensors.h"

namespace pcpp {
namespace {

constexpr std::int64_t kChannels = 64;
constexpr std::int64_t kPlainBytes = 9 * 4 * kChannels * kChannels;
constexpr std::int64_t kTwoBytes = kPlainBytes * 16 / 9 - kPlainBytes;   // more, with tiles of two
constexpr std::int64_t kFourBytes = kPlainBytes * 36 / 9 - kPlainBytes;  // and of four
constexpr std::int64_t kAnyBytes = std::int64_t{1} << 40;

// Convolutions in a row, each with the level of its input.
struct Convolutions {
  void add(int level, std::int64_t in = kChannels, std::int64_t out = kChannels, int stride = 1,
           at::ScalarType dtype = at::kFloat) {
    RandomWeights weights(1);
    weights.add("weight", {out, in, 3, 3});
    weights.add("bias", {out});
    convolutions.emplace_back(weights.scope(dtype), in, out, stride, level, sites);
  }
  std::vector<std::optional<WinogradTile>> tiles() const {
    std::vector<std::optional<WinogradTile>> result;
    for (const PlacedConvolution& placed : sites.convolutions()) {
      result.push_back(placed.kernel->winograd_tile());
    }
    return result;
  }

  SiteRegistry sites;
  std::vector<Conv3x3> convolutions;
};

std::int64_t choose(const Convolutions& network, std::int64_t most_bytes) {
  return choose_convolutions(network.sites, {2, 64, 64}, most_bytes, {}).extra_weight_bytes;
}

constexpr std::optional<WinogradTile> kDirect;
constexpr std::optional kTwo = WinogradTile::two;
constexpr std::optional kFour = WinogradTile::four;
using Tiles = std::vector<std::optional<WinogradTile>>;

TEST(ConvolutionChoice, TakesLargeTilesForLargeImages) {
  Convolutions network;
  for (const int level : {0, 3, 6}) network.add(level);  // 64, 8 and 1 rows
  EXPECT_EQ(choose(network, kAnyBytes), kFourBytes + kTwoBytes);
  EXPECT_EQ(network.tiles(), (Tiles{kFour, kTwo, kDirect}));
}

TEST(ConvolutionChoice, CountsWhatItTakes) {
  Convolutions network;
  for (const int level : {0, 0, 0, 3, 3, 6}) network.add(level);
  const ConvolutionWays ways = choose_convolutions(network.sites, {2, 64, 64}, kAnyBytes, {});
  EXPECT_EQ(ways.tiles_of_four, 3);
  EXPECT_EQ(ways.tiles_of_two, 2);
  EXPECT_EQ(ways.direct, 1);
}

TEST(ConvolutionChoice, TakesTilesOfAsFewAs32Channels) {
  Convolutions network;
  network.add(0, 32, 32);
  network.add(0, 31, 32);
  network.add(0, 32, 31);
  choose(network, kAnyBytes);
  EXPECT_EQ(network.tiles(), (Tiles{kFour, kDirect, kDirect}));
}

TEST(ConvolutionChoice, LeavesWhatDoesNotFit) {
  Convolutions network;
  network.add(0, kChannels, kChannels, 2);
  network.add(0, 4, kChannels);
  network.add(0, kChannels, 4);
  EXPECT_EQ(choose(network, kAnyBytes), 0);
  EXPECT_EQ(network.tiles(), Tiles(3, kDirect));
}

TEST(ConvolutionChoice, LeavesBfloat16ToAmx) {
  Convolutions network;
  network.add(0, kChannels, kChannels, 1, at::kBFloat16);
  choose(network, kAnyBytes);
  EXPECT_EQ(network.tiles(), (Tiles{vector_level() == VectorLevel::amx ? kDirect : kFour}));
}

TEST(ConvolutionChoice, TakesWhatGainsTheMostWithinTheLimit) {
  const auto chosen = [](std::int64_t most_bytes, std::int64_t expected_bytes) {
    Convolutions network;
    for (const int level : {2, 0, 1}) network.add(level);
    EXPECT_EQ(choose(network, most_bytes), expected_bytes);
    return network.tiles();
  };
  EXPECT_EQ(chosen(0, 0), (Tiles{kDirect, kDirect, kDirect}));
  EXPECT_EQ(chosen(kTwoBytes - 1, 0), (Tiles{kDirect, kDirect, kDirect}));
  EXPECT_EQ(chosen(kTwoBytes, kTwoBytes), (Tiles{kDirect, kTwo, kDirect}));
  EXPECT_EQ(chosen(2 * kTwoBytes, 2 * kTwoBytes), (Tiles{kDirect, kTwo, kTwo}));
  EXPECT_EQ(chosen(kFourBytes, 3 * kTwoBytes), (Tiles{kTwo, kTwo, kTwo}));
  EXPECT_EQ(chosen(kFourBytes + kTwoBytes, kFourBytes + kTwoBytes), (Tiles{kDirect, kFour, kTwo}));
}

TEST(ConvolutionChoice, FollowsTheTimesOfAFile) {
  const testing::TemporaryFolder folder;
  const std::filesystem::path file = folder.path() / "times.json";
  const auto chosen = [&] {
    Convolutions network;
    network.add(4);
    choose_convolutions(network.sites, {2, 64, 64}, kAnyBytes, file);
    return network.tiles().front();
  };
  chosen();
  nlohmann::json content = read_json_file(file);
  nlohmann::json& shapes = content.at("machines").front();
  ASSERT_EQ(shapes.size(), 1U);
  const auto with_times = [&](const std::vector<double>& times) {
    shapes.front() = times;
    folder.write("times.json", content.dump());
    return chosen();
  };
  EXPECT_EQ(with_times({1, 2, 3}), kDirect);
  EXPECT_EQ(with_times({3, 1, 2}), kTwo);
  EXPECT_EQ(with_times({9, 8, 1}), kFour);
  EXPECT_EQ(with_times({2, 2, 2}), kDirect);
}

TEST(ConvolutionChoice, TimesNothingThatItMayNotTake) {
  const testing::TemporaryFolder folder;
  const std::filesystem::path file = folder.path() / "times.json";
  Convolutions network;
  network.add(4);
  choose_convolutions(network.sites, {2, 64, 64}, 0, file);
  Convolutions strided;
  strided.add(4, kChannels, kChannels, 2);
  choose_convolutions(strided.sites, {2, 64, 64}, kAnyBytes, file);
  EXPECT_EQ(folder.entry_count(), 0U);
}

}  // namespace
}  // namespace pcpp
