#include "planner/network_work.h"

#include <gtest/gtest.h>

#include "planner/configs.h"

namespace pcpp {
namespace {

double macs(const BandWork& band, std::optional<WorkKind> kind = std::nullopt) {
  double sum = 0;
  for (const WorkItem& item : band.items) {
    if (item.work.kind == WorkKind::normalisation) continue;
    if (!kind || item.work.kind == *kind) sum += item.count * item.work.amount;
  }
  return sum;
}

TEST(NetworkWork, CountsSdxlAsItsPapersDo) {
  NetworkWork network(published_config("sdxl"), DataType::bfloat16, 128);
  // Both branches of one 1024x1024 step; the papers make the text's keys and values in every step.
  const double text = 2 * 2 * 77 * 2048 * (60.0 * 1280 + 10.0 * 640);
  EXPECT_NEAR((macs(network.of(128, 2)) + text) / 1e12, 6.76, 0.005);
  EXPECT_NEAR(static_cast<double>(network.weight_bytes()) / 2 / 1e9, 2.567, 0.001);
}

TEST(NetworkWork, AWholePictureIsItsBandsButForAttention) {
  NetworkWork network(published_config("sd15"), DataType::float32, 64);
  const BandWork& whole = network.of(64, 1);
  const BandWork& half = network.of(32, 1);
  for (const WorkKind kind : {WorkKind::convolution, WorkKind::linear}) {
    // The time embedding is the same for every band.
    EXPECT_NEAR(macs(half, kind) / macs(whole, kind), 0.5, 1e-3);
  }
  EXPECT_NEAR(half.elementwise_bytes / whole.elementwise_bytes, 0.5, 0.01);
  EXPECT_LT(macs(half, WorkKind::attention), 0.3 * macs(whole, WorkKind::attention));
  EXPECT_NEAR(
      static_cast<double>(half.activation_bytes) / static_cast<double>(whole.activation_bytes), 0.5,
      0.05);
}

TEST(NetworkWork, TellsWhichKeysASelfAttentionRead) {
  NetworkWork network(published_config("sd15"), DataType::float32, 64);
  int self_attentions = 0;
  for (const WorkItem& item : network.of(32, 1).items) {
    if (!item.work.site) continue;
    self_attentions += item.count;
    EXPECT_EQ(item.work.keys, (32 >> item.level) * (64 >> item.level));
  }
  EXPECT_EQ(self_attentions, 16);
}

}  // namespace
}  // namespace pcpp
