// The traffic that PCPP saves, planned for SDXL's published config without running it.

#include <gtest/gtest.h>

#include <cstdint>
#include <string>

#include "cache/exchange_plan.h"
#include "models/unet.h"
#include "pipeline/references.h"

namespace pcpp {
namespace {

struct Traffic {
  int ranks;
  std::int64_t distrifusion;  // bytes that a rank receives in a steady step, the mean over ranks
  std::int64_t pcpp;          // at partial 0.3
};

class SdxlTrafficTest : public ::testing::TestWithParam<Traffic> {
 protected:
  // One image, one branch, 16-bit activations, as the figures are stated; the noise's gather, which
  // no method saves, is left out.
  static std::int64_t bytes_of_all(const ParallelConfig& config) {
    const UNet unet(read_unet_config(ConfigReader(test_data("models/configs/sdxl.json"))),
                    WeightScope::shapes_only());
    const int ranks = GetParam().ranks;
    const Topology topology(ranks, config.guidance, 1, 128, unet.row_unit());
    const ExchangePlan plan(unet.sites().sites(), topology, config,
                            {128, 128, 4, 1, DataType::float16});
    std::int64_t bytes = 0;
    for (int rank = 0; rank < ranks; ++rank) {
      const SiteBytes received = plan.received_bytes(rank, StepKind::steady);
      bytes += received.attention + received.halo;
    }
    return bytes;
  }
};

TEST_P(SdxlTrafficTest, IsWhatIsRead) {
  EXPECT_EQ(bytes_of_all(ParallelConfig::distrifusion()),
            GetParam().ranks * GetParam().distrifusion);
  EXPECT_EQ(bytes_of_all(ParallelConfig::pcpp(0.3)), GetParam().ranks * GetParam().pcpp);
}

// Counted from the config: the keys and values of 10 attentions over 64x64 tokens of 640 channels
// and of 60 over 32x32 tokens of 1280 are 419430400 bytes, the rows that 39 convolutions read
// across a border 8028160. Between n ranks there are n - 1 borders. DistriFusion's ranks together
// receive n - 1 times all keys and values; PCPP's, of bands of t tokens, ceil(0.3 t) + floor(0.3 t)
// tokens' across each border.
INSTANTIATE_TEST_SUITE_P(At1024Squared, SdxlTrafficTest,
                         // The authors' DistriFusion moves 218, 339 and 424 MB: its halo rows go to
                         // every rank, ours to the neighbours that read them.
                         ::testing::Values(Traffic{2, 213729280, 66900480},
                                           Traffic{4, 320593920, 53080320},
                                           Traffic{8, 374026240, 34599040}),
                         [](const auto& suite) {
                           return "Ranks" + std::to_string(suite.param.ranks);
                         });

}  // namespace
}  // namespace pcpp
